//! Does to the nodes what the schedule says.

use std::thread;
use std::time::{Duration, Instant};

use tidegate_tests::{Fault, FaultProxy, Kind, When};

use super::schedule::{Disturbance, Manner, Service, Step};
use crate::fleet::Fleet;

/// Carries out the steps; all nodes are well behind the last.
pub(crate) fn disturb(fleet: &mut Fleet, steps: &[Step], seed: u64) {
    let start = Instant::now();
    let mut moments: Vec<(Duration, bool, &Step)> =
        steps.iter().flat_map(|step| [(step.at, true, step), (step.until, false, step)]).collect();
    moments.sort_by_key(|(at, is_beginning, _)| (*at, *is_beginning));
    for (at, is_beginning, step) in moments {
        // A node that starts takes its time: then the rest comes later, but in this order.
        thread::sleep(at.saturating_sub(start.elapsed()));
        println!("{:.3} s: {} {step}", start.elapsed().as_secs_f64(), if is_beginning { "begin" } else { "end" });
        if is_beginning {
            begin(fleet, step, seed);
        } else {
            end(fleet, step);
        }
    }
}

fn begin(fleet: &mut Fleet, step: &Step, seed: u64) {
    match step.disturbance {
        Disturbance::Drain => fleet.signal(step.place, "TERM"),
        Disturbance::Kill => fleet.kill(step.place),
        Disturbance::Partition(service, manner) => {
            let proxy = proxy(fleet, step.place, service);
            match manner {
                Manner::LoseAnswers => proxy.inject(&Kind::ALL, When::Always, Fault::ResetBeforeAnswer),
                Manner::Refuse => proxy.refuse(),
                Manner::Stall => proxy.inject(&Kind::ALL, When::Always, Fault::Unanswered),
            }
        }
        Disturbance::Pause => fleet.signal(step.place, "STOP"),
        Disturbance::Throttle(service) => {
            let seed = seed ^ step.at.as_millis() as u64;
            let fault = match service {
                Service::DynamoDb => Fault::ThroughputExceeded,
                Service::S3 => Fault::SlowDown,
            };
            proxy(fleet, step.place, service).inject(&Kind::ALL, When::Percent { of_100: 60, seed }, fault);
        }
    }
}

fn end(fleet: &mut Fleet, step: &Step) {
    match step.disturbance {
        Disturbance::Drain => {
            fleet.wait_for_end(step.place);
            fleet.replace(step.place);
        }
        Disturbance::Kill => fleet.replace(step.place),
        Disturbance::Partition(service, _) | Disturbance::Throttle(service) => {
            proxy(fleet, step.place, service).heal();
        }
        Disturbance::Pause => fleet.signal(step.place, "CONT"),
    }
}

fn proxy(fleet: &Fleet, place: usize, service: Service) -> &FaultProxy {
    let member = fleet.member(place);
    match service {
        Service::DynamoDb => &member.dynamodb,
        Service::S3 => &member.s3,
    }
}
