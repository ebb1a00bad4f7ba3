//! What happens when many sessions are cut at once, and all their clients come back.
//!
//! Caches are cold for the users that come, no client shares its address with others (limits per source do not
//! bite), and nobody but those clients logs in meanwhile.

mod run;

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::measured::Measured;
use crate::parameters::Parameters;
use crate::queue::{Micros, seconds};
use crate::settings::Settings;

/// What cuts the sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Cause {
    /// A node's process dies: the kernel tells its clients, and refuses new ones until the balancer notices.
    NodeKilled,
    /// A node's machine is gone: clients notice by themselves, and nobody answers new ones.
    MachineGone,
    /// All machines of a zone are gone.
    ZoneGone,
    /// All sessions are cut and all nodes are there, with empty caches: after a fault of the network, say.
    AllCut,
}

/// How many logins a second a node makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Capacity {
    /// As measured, with the clients and the store on the node's own machine: the least.
    Measured,
    /// As many as the CPU per login lets two cores make: the most.
    Cpu,
}

/// Whose users they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Owners {
    /// Those of many tenants.
    Many,
    /// All are one tenant's.
    One,
}

/// One case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Case {
    /// What cuts the sessions.
    pub(crate) cause: Cause,
    /// Logins of a node.
    pub(crate) capacity: Capacity,
    /// Whose users they are.
    pub(crate) owners: Owners,
    /// Nodes before it.
    pub(crate) nodes: usize,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Storm {
    /// Of which case.
    pub(crate) case: Case,
    /// Sessions that were cut.
    pub(crate) cut: usize,
    /// Seconds until half of them are back.
    pub(crate) half: Option<f64>,
    /// Seconds until 99 of 100 are back.
    pub(crate) most: Option<f64>,
    /// Seconds until all are back.
    pub(crate) all: Option<f64>,
    /// Logins in the busiest second, of all nodes.
    pub(crate) logins_peak: u64,
    /// The same of the busiest node.
    pub(crate) node_logins_peak: u64,
    /// Connections that nodes closed, since too many were logging in (`ssh.max_unauthenticated`) or open.
    pub(crate) refused: u64,
    /// Connections to dead nodes.
    pub(crate) lost: u64,
    /// Reads of DynamoDB in the busiest second.
    pub(crate) reads_peak: f64,
    /// The same of the busiest key.
    pub(crate) key_reads_peak: f64,
    /// Requests that DynamoDB throttled.
    pub(crate) throttled: u64,
    /// Logins that failed, as their account could not be looked up in time.
    pub(crate) failed: u64,
    /// Roles that nodes would assume in the busiest second, one for each node and tenant.
    pub(crate) roles_peak: u64,
    /// Sessions that the fullest node has in the end.
    pub(crate) fullest: usize,
    /// Share of the cut sessions that are back, over seconds.
    pub(crate) curve: Vec<(f64, f64)>,
}

impl Case {
    /// Every case for so many nodes.
    pub(crate) fn all(nodes: usize) -> Vec<Self> {
        let case = |cause, capacity, owners| Self { cause, capacity, owners, nodes };
        vec![
            case(Cause::NodeKilled, Capacity::Measured, Owners::Many),
            case(Cause::MachineGone, Capacity::Measured, Owners::Many),
            case(Cause::ZoneGone, Capacity::Measured, Owners::Many),
            case(Cause::AllCut, Capacity::Measured, Owners::Many),
            case(Cause::AllCut, Capacity::Cpu, Owners::Many),
            case(Cause::AllCut, Capacity::Measured, Owners::One),
            case(Cause::AllCut, Capacity::Cpu, Owners::One),
        ]
    }

    /// Nodes that are lost, the least number for a zone being one.
    pub(crate) fn lost(self, parameters: &Parameters) -> usize {
        match self.cause {
            Cause::NodeKilled | Cause::MachineGone => 1,
            Cause::ZoneGone => ((self.nodes as f64 * parameters.death.zone_share).ceil() as usize).max(1),
            Cause::AllCut => 0,
        }
    }

    /// The name of its stream of chance.
    fn name(self) -> String {
        format!("storm {:?} {:?} {:?} {}", self.cause, self.capacity, self.owners, self.nodes)
    }
}

impl Capacity {
    /// Logins a second.
    pub(crate) fn per_second(self, measured: &Measured, settings: &Settings) -> f64 {
        match self {
            Self::Measured => measured.logins_per_second,
            Self::Cpu => measured.logins_by_cpu(settings.prices.instance.vcpus),
        }
    }
}

/// Lets a storm pass.
pub(crate) fn run(case: Case, parameters: &Parameters, settings: &Settings, measured: &Measured) -> Storm {
    run::Run::new(case, parameters, settings, measured).pass()
}

/// When the sessions came back, ascending, as what a chart shows: 60 points from the first to the last.
fn curve(back: &[Micros], cut: usize) -> Vec<(f64, f64)> {
    const POINTS: usize = 60;
    let picked: BTreeSet<usize> = (0..=POINTS).map(|n| (back.len().saturating_sub(1)) * n / POINTS).collect();
    let point = |n: usize| Some((rounded(seconds(*back.get(n)?)), rounded((n + 1) as f64 / cut as f64)));
    picked.into_iter().filter_map(point).collect()
}

/// To thousandths, which is more than a simulation can tell, and keeps the file of results small.
fn rounded(value: f64) -> f64 {
    (value * 1_000.0).round() / 1_000.0
}

#[cfg(test)]
mod tests;
