//! Max-min fair shares: pure arithmetic.

/// The level up to which every want is met when `total` is not enough for all of them: those below
/// it get what they want, the others this much. `None` if all get what they want.
pub(crate) fn level(wants: &mut [u64], total: u64) -> Option<u64> {
    wants.sort_unstable();
    let (mut left, mut others) = (total, wants.len() as u64);
    for want in wants {
        let share = left / others;
        if *want > share {
            return Some(share);
        }
        left -= *want;
        others -= 1;
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_modest_get_all_and_the_greedy_the_same() {
        assert_eq!(level(&mut [10, 1, 10], 30), None);
        assert_eq!(level(&mut [10, 1, 10], 11), Some(5));
        assert_eq!(level(&mut [7, 7], 0), Some(0));
        assert_eq!(level(&mut [], 0), None);
    }

    proptest! {
        #[test]
        fn nothing_is_given_twice_and_nothing_left_over(
            mut wants in prop::collection::vec(0..1_000_000_u64, 1..40),
            total in 0..10_000_000_u64,
        ) {
            let given = |wants: &[u64], level: u64| wants.iter().map(|want| level.min(*want)).sum::<u64>();
            match level(&mut wants, total) {
                None => prop_assert!(wants.iter().sum::<u64>() <= total),
                Some(level) => {
                    prop_assert!(given(&wants, level) <= total);
                    prop_assert!(given(&wants, level + 1) > total);
                }
            }
        }
    }
}
