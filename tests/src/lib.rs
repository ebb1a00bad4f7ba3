//! Real clients against real nodes; the tests are in `tests/`.
