//! Everything that was simulated, with what went in.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::cost::{self, Cost};
use crate::error::ScalingError;
use crate::growth::{self, Grown};
use crate::measured::Measured;
use crate::parameters::Parameters;
use crate::settings::{Module, Prices, Quotas, Settings};
use crate::steady::{self, Steady};
use crate::storm::{self, Case, Storm};

/// Everything that was simulated.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Results {
    /// What went in.
    pub(crate) inputs: Inputs,
    /// Everyday life: each profile at each number of nodes.
    pub(crate) steady: Vec<Steady>,
    /// Storms: each case at each number of nodes.
    pub(crate) storms: Vec<Storm>,
    /// Growth: each ramp.
    pub(crate) growth: Vec<Grown>,
    /// Cost: each volume.
    pub(crate) cost: Vec<Cost>,
    /// From how many GB a month on Tidegate costs less than AWS Transfer Family.
    pub(crate) break_even_gb: Option<f64>,
}

/// What went in.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Inputs {
    /// What was assumed.
    pub(crate) parameters: Parameters,
    /// What of a node's settings counts.
    pub(crate) settings: BTreeMap<String, String>,
    /// The Terraform module's.
    pub(crate) module: Module,
    /// What the benchmark has measured.
    pub(crate) measured: Measured,
    /// What AWS allows.
    pub(crate) quotas: Quotas,
    /// What AWS charges.
    pub(crate) prices: Prices,
}

impl Inputs {
    /// What goes in.
    pub(crate) fn of(parameters: &Parameters, settings: &Settings, measured: &Measured) -> Self {
        Self {
            parameters: parameters.clone(),
            settings: settings.noted(),
            module: settings.module.clone(),
            measured: measured.clone(),
            quotas: settings.quotas.clone(),
            prices: settings.prices.clone(),
        }
    }
}

impl Results {
    /// Simulates everything; `progress` is told what comes next.
    pub(crate) fn simulate(
        parameters: &Parameters,
        settings: &Settings,
        measured: &Measured,
        mut progress: impl FnMut(&str),
    ) -> Self {
        let mut steady = Vec::new();
        for profile in &parameters.profiles {
            progress(&format!("everyday life of {}", profile.name));
            let at = |nodes: &usize| steady::run(profile, *nodes, parameters, settings, measured);
            steady.extend(parameters.cluster.nodes.iter().map(at));
        }
        let mut storms = Vec::new();
        for nodes in &parameters.cluster.nodes {
            progress(&format!("storms on {nodes} nodes"));
            let of = |case| storm::run(case, parameters, settings, measured);
            storms.extend(Case::all(*nodes).into_iter().map(of));
        }
        let mut growth = Vec::new();
        for minutes in &parameters.growth.ramp_minutes {
            progress(&format!("growth within {minutes} minutes"));
            growth.push(growth::run(*minutes, parameters, settings));
        }
        let volumes = &parameters.transfer.gb_per_month;
        Self {
            inputs: Inputs::of(parameters, settings, measured),
            steady,
            storms,
            growth,
            cost: volumes.iter().map(|gb| cost::month(*gb, parameters, settings, measured)).collect(),
            break_even_gb: cost::break_even(parameters, settings, measured),
        }
    }

    /// Everyday life of one profile, by nodes.
    pub(crate) fn steady_of<'a>(&'a self, profile: &'a str) -> impl Iterator<Item = &'a Steady> {
        self.steady.iter().filter(move |steady| steady.profile == profile)
    }

    /// One kind of storm, by nodes.
    pub(crate) fn storms_of(&self, case: Case) -> impl Iterator<Item = &Storm> {
        self.storms.iter().filter(move |storm| Case { nodes: storm.case.nodes, ..case } == storm.case)
    }

    /// # Errors
    /// Says what can't be read.
    #[cfg(test)]
    pub(crate) fn read(file: &Path) -> Result<Self, ScalingError> {
        let named = || file.display().to_string();
        let text = std::fs::read_to_string(file).map_err(|source| ScalingError::File { file: named(), source })?;
        serde_json::from_str(&text).map_err(|source| ScalingError::Json { file: named(), source })
    }

    /// # Errors
    /// Says what can't be written.
    pub(crate) fn write(&self, file: &Path) -> Result<(), ScalingError> {
        let named = || file.display().to_string();
        let mut text = serde_json::to_string(self).map_err(|source| ScalingError::Json { file: named(), source })?;
        text.push('\n');
        std::fs::write(file, text).map_err(|source| ScalingError::File { file: named(), source })
    }
}
