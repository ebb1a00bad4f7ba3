//! Histories that are fine, and each kind of lie that the checker has to find.

use super::{Action, Event, Fate, History, Sight, Version, check, content, recognise};

/// `check` of events whose times are given; names of clients make no difference.
fn violations(events: &[(u64, u64, Action, Fate)], settled: Option<u64>) -> Vec<String> {
    let event = |(from, until, action, fate): &(u64, u64, Action, Fate)| Event {
        client: "c".to_owned(),
        from: *from,
        until: *until,
        action: action.clone(),
        fate: *fate,
    };
    let history = History { events: events.iter().map(event).collect(), settled };
    check(&history).into_iter().map(|violation| violation.0).collect()
}

fn publish(path: &str, version: u64) -> Action {
    Action::Publish { path: path.to_owned(), version: Version(version) }
}

fn remove(path: &str) -> Action {
    Action::Remove { path: path.to_owned() }
}

fn rename(from: &str, to: &str) -> Action {
    Action::Rename { from: from.to_owned(), to: to.to_owned() }
}

fn see(path: &str, version: u64) -> Action {
    Action::See { path: path.to_owned(), sight: Sight::Whole(Version(version)) }
}

fn sight(path: &str, sight: Sight) -> Action {
    Action::See { path: path.to_owned(), sight }
}

#[track_caller]
fn fine(events: &[(u64, u64, Action, Fate)]) {
    let found = violations(events, None);
    assert!(found.is_empty(), "{found:#?}");
}

#[track_caller]
fn wrong(events: &[(u64, u64, Action, Fate)], says: &str) {
    let found = violations(events, None);
    assert!(found.len() == 1 && found[0].contains(says), "not one violation with {says:?}: {found:#?}");
    // Without the lie, which stands last, nothing is wrong.
    fine(&events[..events.len() - 1]);
}

const REPLACED: &str = "it was replaced before";
const NOTHING: &str = "nothing that was asked for leaves that here";

use Fate::{Done, InDoubt, Never, Perhaps};

#[test]
fn what_was_acknowledged_is_seen_until_something_replaces_it() {
    fine(&[
        (1, 2, sight("p", Sight::Absent), Done),
        (3, 6, publish("p", 1), Done),
        (7, 8, see("p", 1), Done),
        (7, 8, sight("p", Sight::Present), Done),
        (10, 20, publish("p", 2), Done),
        // While it is replaced, either is right, in that order.
        (11, 12, see("p", 1), Done),
        (13, 14, see("p", 2), Done),
        (30, 31, remove("p"), Done),
        (32, 33, sight("p", Sight::Absent), Done),
    ]);
}

#[test]
fn a_lost_upload_is_found() {
    wrong(&[(1, 2, publish("p", 1), Done), (3, 4, sight("p", Sight::Absent), Done)], REPLACED);
    // The old content in place of the new one.
    wrong(&[(1, 2, publish("p", 1), Done), (3, 4, publish("p", 2), Done), (5, 6, see("p", 1), Done)], REPLACED);
    // Behind a removal that a third client asked for before.
    wrong(
        &[(1, 2, remove("p"), Done), (3, 4, publish("p", 1), Done), (5, 6, sight("p", Sight::Absent), Done)],
        REPLACED,
    );
}

#[test]
fn what_was_removed_stays_away() {
    wrong(&[(1, 2, publish("p", 1), Done), (3, 4, remove("p"), Done), (5, 6, see("p", 1), Done)], REPLACED);
    wrong(
        &[(1, 2, publish("p", 1), Done), (3, 4, remove("p"), Done), (5, 6, sight("p", Sight::Present), Done)],
        REPLACED,
    );
}

#[test]
fn what_is_in_doubt_may_happen_or_not_and_late() {
    for seen in [1, 2] {
        fine(&[(1, 2, publish("p", 1), Done), (3, 4, publish("p", 2), InDoubt), (50, 51, see("p", seen), Done)]);
    }
    // Not seen at first, and then.
    fine(&[
        (1, 2, publish("p", 1), Done),
        (3, 4, publish("p", 2), InDoubt),
        (5, 6, see("p", 1), Done),
        (7, 8, see("p", 2), Done),
    ]);
    // Over a later upload that was acknowledged.
    fine(&[(3, 4, publish("p", 1), InDoubt), (5, 6, publish("p", 2), Done), (7, 8, see("p", 1), Done)]);
    fine(&[(1, 2, publish("p", 1), Done), (3, 4, remove("p"), InDoubt), (5, 6, sight("p", Sight::Absent), Done)]);
}

#[test]
fn what_was_seen_once_has_happened() {
    wrong(
        &[
            (1, 2, publish("p", 1), Done),
            (3, 4, publish("p", 2), InDoubt),
            (5, 6, see("p", 2), Done),
            (7, 8, see("p", 1), Done),
        ],
        REPLACED,
    );
    wrong(
        &[
            (1, 2, publish("p", 1), Done),
            (3, 4, remove("p"), InDoubt),
            (5, 6, sight("p", Sight::Absent), Done),
            (7, 8, see("p", 1), Done),
        ],
        REPLACED,
    );
    // Two looks at once may see either.
    fine(&[
        (1, 2, publish("p", 1), Done),
        (3, 9, publish("p", 2), Done),
        (5, 8, see("p", 2), Done),
        (6, 9, see("p", 1), Done),
    ]);
}

#[test]
fn what_may_not_happen_any_more_does_not() {
    fine(&[(1, 4, remove("p"), Perhaps), (2, 3, publish("p", 1), Done), (5, 6, sight("p", Sight::Absent), Done)]);
    wrong(
        &[(1, 2, remove("p"), Perhaps), (3, 4, publish("p", 1), Done), (5, 6, sight("p", Sight::Absent), Done)],
        REPLACED,
    );
}

#[test]
fn what_was_never_closed_is_never_seen() {
    wrong(&[(1, 2, publish("p", 1), Never), (3, 4, see("p", 1), Done)], NOTHING);
    wrong(&[(1, 2, publish("p", 1), Never), (3, 4, sight("p", Sight::Present), Done)], NOTHING);
    // Nor before it was asked for, nor at another path.
    wrong(&[(5, 6, publish("p", 1), Done), (1, 2, see("p", 1), Done)], NOTHING);
    wrong(&[(1, 2, publish("p", 1), Done), (3, 4, see("q", 1), Done)], NOTHING);
}

#[test]
fn half_a_file_is_wrong_whatever_happens() {
    let damaged = Sight::Damaged("half".to_owned());
    wrong(&[(1, 9, publish("p", 1), InDoubt), (3, 4, sight("p", damaged), Done)], "half a file, or a mixture");
}

#[test]
fn a_rename_moves_what_was_there() {
    fine(&[
        (1, 2, publish("p", 1), Done),
        (1, 2, publish("q", 2), Done),
        (3, 8, rename("p", "q"), Done),
        // While it runs: the copy is there and the old name, too.
        (4, 5, see("q", 1), Done),
        (4, 5, see("p", 1), Done),
        (9, 10, see("q", 1), Done),
        (9, 10, sight("p", Sight::Absent), Done),
    ]);
    for lie in [see("q", 2), sight("q", Sight::Absent), see("p", 1), sight("p", Sight::Present)] {
        wrong(
            &[
                (1, 2, publish("p", 1), Done),
                (1, 2, publish("q", 2), Done),
                (3, 4, rename("p", "q"), Done),
                (5, 6, lie, Done),
            ],
            REPLACED,
        );
    }
}

#[test]
fn a_rename_brings_nothing_else() {
    // A version that had been replaced at the old name before.
    wrong(
        &[
            (1, 2, publish("p", 1), Done),
            (3, 4, publish("p", 2), Done),
            (5, 6, rename("p", "q"), Done),
            (7, 8, see("q", 1), Done),
        ],
        NOTHING,
    );
    // One that came to the old name behind it.
    wrong(
        &[
            (1, 2, publish("p", 1), Done),
            (3, 4, rename("p", "q"), Done),
            (5, 6, publish("p", 2), Done),
            (7, 8, see("q", 2), Done),
        ],
        NOTHING,
    );
    // One that came at the same time may have been moved, or have stayed.
    for (q, p) in [(2, Sight::Absent), (1, Sight::Whole(Version(2)))] {
        fine(&[
            (1, 2, publish("p", 1), Done),
            (3, 9, rename("p", "q"), Done),
            (4, 8, publish("p", 2), Done),
            (10, 11, see("q", q), Done),
            (10, 11, sight("p", p), Done),
        ]);
    }
}

#[test]
fn versions_are_followed_through_renames_in_circles() {
    let circle = [
        (1, 2, publish("a", 1), Done),
        (3, 4, rename("a", "b"), Done),
        (5, 6, rename("b", "c"), Done),
        (7, 8, rename("c", "a"), Done),
        (9, 10, rename("a", "b"), Done),
    ];
    fine(&[&circle[..], &[(11, 12, see("b", 1), Done), (11, 12, sight("a", Sight::Absent), Done)]].concat());
    for lost in ["a", "c"] {
        wrong(&[&circle[..], &[(11, 12, see(lost, 1), Done)]].concat(), REPLACED);
    }
}

#[test]
fn a_rename_may_have_moved_an_upload_that_was_cut() {
    // No look shows it, and the file at the target stays.
    for seen in [Sight::Absent, Sight::Whole(Version(2))] {
        let before = if seen == Sight::Absent { remove("q") } else { publish("q", 2) };
        fine(&[
            (1, 2, before, Done),
            (1, 2, publish("p", 1), Never),
            (3, 4, rename("p", "q"), Done),
            (5, 6, sight("q", seen), Done),
            (5, 6, sight("p", Sight::Absent), Done),
        ]);
    }
    // Where there surely was a file, it is moved.
    wrong(
        &[
            (1, 2, publish("p", 1), Done),
            (3, 4, publish("p", 2), Never),
            (5, 6, rename("p", "q"), Done),
            (7, 8, sight("q", Sight::Absent), Done),
        ],
        REPLACED,
    );
}

#[test]
fn an_upload_that_is_renamed_while_it_is_under_way_ends_under_the_new_name() {
    fine(&[
        (1, 20, publish("p", 1), Done),
        (3, 4, rename("p", "q"), Done),
        (5, 6, remove("q"), Done),
        (21, 22, see("q", 1), Done),
    ]);
}

#[test]
fn a_rename_in_doubt_is_done_or_not_or_half() {
    let before = [(1, 2, publish("p", 1), Done), (1, 2, publish("q", 2), Done), (3, 4, rename("p", "q"), InDoubt)];
    for (p, q) in [
        (Sight::Whole(Version(1)), Sight::Whole(Version(2))),
        (Sight::Whole(Version(1)), Sight::Whole(Version(1))),
        (Sight::Absent, Sight::Whole(Version(1))),
    ] {
        fine(&[&before[..], &[(5, 6, sight("p", p), Done), (7, 8, sight("q", q), Done)]].concat());
    }
    wrong(&[&before[..], &[(5, 6, sight("q", Sight::Absent), Done)]].concat(), REPLACED);
}

#[test]
fn in_the_end_all_nodes_agree() {
    let doubt = [(1, 2, publish("p", 1), Done), (3, 4, publish("p", 2), InDoubt)];
    for (first, second, agree) in [
        (Sight::Whole(Version(1)), Sight::Whole(Version(1)), true),
        (Sight::Whole(Version(2)), Sight::Present, true),
        (Sight::Whole(Version(1)), Sight::Whole(Version(2)), false),
        (Sight::Whole(Version(2)), Sight::Absent, false),
        (Sight::Present, Sight::Absent, false),
    ] {
        let looks = [(20, 21, sight("p", first), Done), (20, 21, sight("p", second), Done)];
        let found = violations(&[&doubt[..], &looks].concat(), Some(10));
        assert_eq!(found.is_empty(), agree, "{found:#?}");
    }
}

#[test]
fn content_is_recognised_and_no_part_or_mixture_of_it() {
    for len in [0, 16, 17, 40_000] {
        assert_eq!(recognise(&content(Version(7), len)), Ok(Version(7)));
    }
    let (one, other) = (content(Version(1), 50_000), content(Version(2), 50_000));
    assert!(recognise(b"").is_err());
    for half in [1, 15, 16, 20_000, 49_999] {
        assert!(recognise(&one[..half]).is_err(), "the first {half} bytes");
    }
    for at in [16, 32_768, 49_999] {
        assert!(recognise(&[&one[..at], &other[at..]].concat()).is_err(), "mixed from {at} on");
    }
    assert!(recognise(&[&one[..], b"x"].concat()).is_err());
    assert!(recognise(&[&one[..20_000], &[0; 30_000]].concat()).is_err(), "a hole");
}
