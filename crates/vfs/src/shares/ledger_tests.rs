use proptest::prelude::*;

use super::*;

fn tenant(n: usize) -> Arc<TenantName> {
    Arc::new(format!("tenant-{n}").parse().unwrap())
}

/// A part each: 64 of them are 512 MiB of 8.
fn part(held: u64, urgency: Urgency) -> Ask {
    Ask { units: 1, held, urgency }
}

/// Takes parts, each for a writer of its own, until there is nothing more to have.
fn fill(ledger: &mut Ledger, tenant: &Arc<TenantName>) -> u64 {
    let mut taken = 0;
    loop {
        let ticket = ledger.ask(tenant, part(0, Urgency::Need));
        if ledger.serve() != Some(ticket) {
            ledger.withdraw(tenant, ticket);
            return taken;
        }
        taken += 1;
    }
}

#[test]
fn a_tenant_alone_takes_nearly_all_and_the_next_one_finds_room() {
    let mut ledger = Ledger::new(64);
    let taken: Vec<u64> = (0..2).map(|n| fill(&mut ledger, &tenant(n))).collect();
    assert_eq!(taken, [56, 8], "the second is sure of more than is free yet");
    assert_eq!(ledger.taken(), 64);
}

#[test]
fn one_writer_leaves_a_third_to_those_who_come() {
    let mut ledger = Ledger::new(64);
    let mut held = 0;
    loop {
        let ticket = ledger.ask(&tenant(0), part(held, if held == 0 { Urgency::Need } else { Urgency::Extra }));
        if ledger.serve() != Some(ticket) {
            break;
        }
        held += 1;
    }
    assert_eq!(held, 42);
}

#[test]
fn needs_come_before_extras_and_those_with_least_before_others() {
    let mut ledger = Ledger::new(8);
    let (rich, poor) = (tenant(0), tenant(1));
    assert_eq!(fill(&mut ledger, &rich), 7);
    let extra = ledger.ask(&rich, part(1, Urgency::Extra));
    let growth = ledger.ask(&rich, part(1, Urgency::Need));
    let newcomer = ledger.ask(&rich, part(0, Urgency::Need));
    let other = ledger.ask(&poor, Ask { units: 2, held: 0, urgency: Urgency::Need });
    // One unit is free, but the poor tenant is first in line and has to have two.
    assert_eq!(ledger.serve(), None);
    ledger.release(&rich, 1);
    assert_eq!(ledger.serve(), Some(other));
    ledger.release(&rich, 5);
    assert_eq!([ledger.serve(), ledger.serve()], [Some(newcomer), Some(growth)]);
    assert_eq!(ledger.serve(), Some(extra));
}

#[test]
fn a_tenant_that_took_more_than_its_share_gets_none_of_it_again_while_another_wants_it() {
    let mut ledger = Ledger::new(64);
    let (first, second) = (tenant(0), tenant(1));
    assert_eq!(fill(&mut ledger, &first), 56);
    assert_eq!(fill(&mut ledger, &second), 8);
    // The parts of the first land one by one, and both want more all the time.
    let (mut first_held, mut second_held) = (56, 8);
    for _ in 0..200 {
        let (mine, theirs) = (part(0, Urgency::Need), part(0, Urgency::Need));
        let tickets = (ledger.ask(&first, mine), ledger.ask(&second, theirs));
        ledger.release(&first, 1);
        first_held -= 1;
        let mut served = Vec::new();
        while let Some(ticket) = ledger.serve() {
            served.push(ticket);
        }
        for (tenant, ticket, held) in [(&first, tickets.0, &mut first_held), (&second, tickets.1, &mut second_held)] {
            if served.contains(&ticket) {
                *held += 1;
            } else {
                ledger.withdraw(tenant, ticket);
            }
        }
    }
    assert!(second_held >= 64 / 3, "{first_held} and {second_held}");
    assert!(first_held <= 35, "{first_held} and {second_held}");
}

#[test]
fn nobody_passes_one_who_waits_for_much_by_taking_more_than_it() {
    let mut ledger = Ledger::new(16);
    let (large, small) = (tenant(0), tenant(1));
    assert_eq!(fill(&mut ledger, &small), 14);
    let waits = ledger.ask(&large, Ask { units: 4, held: 0, urgency: Urgency::Need });
    let passes = ledger.ask(&small, part(0, Urgency::Need));
    assert_eq!(ledger.serve(), None);
    ledger.release(&small, 2);
    assert_eq!(ledger.serve(), Some(waits));
    ledger.release(&small, 5);
    assert_eq!(ledger.serve(), Some(passes));
}

#[derive(Clone, Debug)]
enum Step {
    Ask { tenant: usize, units: u64, extra: bool },
    Release { choice: usize },
    Withdraw { choice: usize },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..5_usize, 1..9_u64, any::<bool>()).prop_map(|(tenant, units, extra)| Step::Ask { tenant, units, extra }),
        3 => any::<usize>().prop_map(|choice| Step::Release { choice }),
        1 => any::<usize>().prop_map(|choice| Step::Withdraw { choice }),
    ]
}

proptest! {
    /// Whatever happens: no more is handed out than there is, what comes back is all there again,
    /// and when all that is held has landed, whoever waits for what it needs has got it.
    #[test]
    fn nothing_is_lost_and_nobody_waits_for_ever(steps in prop::collection::vec(step(), 1..200)) {
        let mut ledger = Ledger::new(32);
        let mut waiting: Vec<(usize, Ticket, u64)> = Vec::new();
        let mut held: Vec<(usize, u64)> = Vec::new();
        let serve = |ledger: &mut Ledger, waiting: &mut Vec<(usize, Ticket, u64)>, held: &mut Vec<(usize, u64)>| {
            while let Some(ticket) = ledger.serve() {
                let index = waiting.iter().position(|(_, waits, _)| *waits == ticket).unwrap();
                let (tenant, _, units) = waiting.swap_remove(index);
                held.push((tenant, units));
            }
        };
        for step in steps {
            match step {
                Step::Ask { tenant: n, units, extra } => {
                    let urgency = if extra { Urgency::Extra } else { Urgency::Need };
                    let ticket = ledger.ask(&tenant(n), Ask { units, held: 0, urgency });
                    waiting.push((n, ticket, units));
                }
                Step::Release { choice } if !held.is_empty() => {
                    let (n, units) = held.swap_remove(choice % held.len());
                    ledger.release(&tenant(n), units);
                }
                Step::Withdraw { choice } if !waiting.is_empty() => {
                    let (n, ticket, _) = waiting.swap_remove(choice % waiting.len());
                    ledger.withdraw(&tenant(n), ticket);
                }
                Step::Release { .. } | Step::Withdraw { .. } => {}
            }
            serve(&mut ledger, &mut waiting, &mut held);
            let sum: u64 = held.iter().map(|(_, units)| units).sum();
            prop_assert!(sum <= 32);
            prop_assert_eq!(ledger.taken(), sum);
        }
        while !held.is_empty() {
            let (n, units) = held.swap_remove(0);
            ledger.release(&tenant(n), units);
            serve(&mut ledger, &mut waiting, &mut held);
        }
        prop_assert!(waiting.is_empty(), "{:?}", waiting);
        prop_assert_eq!((ledger.taken(), ledger.held.len(), ledger.waiting.len()), (0, 0, 0));
    }
}
