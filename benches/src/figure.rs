//! What is measured, by name.

use serde::{Deserialize, Serialize};

use crate::server::MEMORY_BUDGET;

/// A quantity of one server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Figure {
    /// Upload of one file.
    StreamUp,
    /// Download of one file.
    StreamDown,
    /// CPU of the server for it.
    StreamUpCpu,
    /// CPU of the server for it.
    StreamDownCpu,
    /// CPU of the object store for it.
    StreamUpStoreCpu,
    /// CPU of the object store for it.
    StreamDownStoreCpu,
    /// CPU of the proxy for it.
    StreamUpProxyCpu,
    /// CPU of the proxy for it.
    StreamDownProxyCpu,
    /// CPU of the client for it.
    StreamUpClientCpu,
    /// CPU of the client for it.
    StreamDownClientCpu,
    /// Requests for an upload besides its parts.
    StreamUpRequests,
    /// Eight uploads at once.
    EightUp,
    /// Eight downloads at once.
    EightDown,
    /// How much of the machine's CPU time was used meanwhile.
    EightUpBusy,
    /// How much of the machine's CPU time was used meanwhile.
    EightDownBusy,
    /// The most memory in both.
    EightPeak,
    /// `sftp -r` upwards.
    SmallUp,
    /// `lftp mirror -R --parallel=8`.
    SmallUpLftp,
    /// `sftp -r` downwards.
    SmallDown,
    /// PutObject per uploaded file.
    SmallUpPuts,
    /// Other requests per uploaded file.
    SmallUpOthers,
    /// GetObject per downloaded file.
    SmallDownGets,
    /// Other requests per downloaded file.
    SmallDownOthers,
    /// `ls -l`, the first on a server.
    LsCold,
    /// `ls -l` once more.
    LsWarm,
    /// `ls -l` a third time.
    LsThird,
    /// ListObjects per 1,000 entries, warm.
    LsLists,
    /// Other requests of the warm `ls -l`.
    LsOthers,
    /// Logins per second.
    Logins,
    /// CPU of the server per login.
    LoginCpu,
    /// Memory per idle session.
    IdleMemory,
    /// The most memory with 50 uploads at once.
    PeakUp,
    /// The most memory with 50 downloads at once.
    PeakDown,
    /// Slowest by fastest of 50 uploads at once.
    FairUp,
    /// Slowest by fastest of 50 downloads at once.
    FairDown,
}

/// Which way is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Better {
    /// More.
    Higher,
    /// Less.
    Lower,
}

impl Figure {
    /// All of them, in the order of the report.
    pub(crate) const ALL: [Self; 35] = [
        Self::StreamUp,
        Self::StreamDown,
        Self::StreamUpCpu,
        Self::StreamDownCpu,
        Self::StreamUpStoreCpu,
        Self::StreamDownStoreCpu,
        Self::StreamUpProxyCpu,
        Self::StreamDownProxyCpu,
        Self::StreamUpClientCpu,
        Self::StreamDownClientCpu,
        Self::StreamUpRequests,
        Self::EightUp,
        Self::EightDown,
        Self::EightUpBusy,
        Self::EightDownBusy,
        Self::EightPeak,
        Self::SmallUp,
        Self::SmallUpLftp,
        Self::SmallDown,
        Self::SmallUpPuts,
        Self::SmallUpOthers,
        Self::SmallDownGets,
        Self::SmallDownOthers,
        Self::LsCold,
        Self::LsWarm,
        Self::LsThird,
        Self::LsLists,
        Self::LsOthers,
        Self::Logins,
        Self::LoginCpu,
        Self::IdleMemory,
        Self::PeakUp,
        Self::PeakDown,
        Self::FairUp,
        Self::FairDown,
    ];

    /// For people.
    pub(crate) fn title(self) -> &'static str {
        self.describe().0
    }

    /// What its values count.
    pub(crate) fn unit(self) -> &'static str {
        self.describe().1
    }

    /// Which way is better.
    pub(crate) fn better(self) -> Better {
        self.describe().2
    }

    fn describe(self) -> (&'static str, &'static str, Better) {
        use Better::{Higher, Lower};
        match self {
            Self::StreamUp => ("Upload, one stream", "MiB/s", Higher),
            Self::StreamDown => ("Download, one stream", "MiB/s", Higher),
            Self::StreamUpCpu => ("CPU of the server, upload", "s/GiB", Lower),
            Self::StreamDownCpu => ("CPU of the server, download", "s/GiB", Lower),
            Self::StreamUpStoreCpu => ("CPU of the object store, upload (context)", "s/GiB", Lower),
            Self::StreamDownStoreCpu => ("CPU of the object store, download (context)", "s/GiB", Lower),
            Self::StreamUpProxyCpu => ("CPU of the proxy, upload (context)", "s/GiB", Lower),
            Self::StreamDownProxyCpu => ("CPU of the proxy, download (context)", "s/GiB", Lower),
            Self::StreamUpClientCpu => ("CPU of the client, upload (context)", "s/GiB", Lower),
            Self::StreamDownClientCpu => ("CPU of the client, download (context)", "s/GiB", Lower),
            Self::StreamUpRequests => ("Requests of an upload besides its parts", "requests", Lower),
            Self::EightUp => ("Upload, eight streams, sum", "MiB/s", Higher),
            Self::EightDown => ("Download, eight streams, sum", "MiB/s", Higher),
            Self::EightUpBusy => ("Share of all CPU used by eight streams up, all parts (context)", "%", Lower),
            Self::EightDownBusy => ("Share of all CPU used by eight streams down, all parts (context)", "%", Lower),
            Self::EightPeak => ("Peak memory with eight streams up, then down", "MiB", Lower),
            Self::SmallUp => ("Small files up, sftp -r", "files/s", Higher),
            Self::SmallUpLftp => ("Small files up, lftp with 8 connections", "files/s", Higher),
            Self::SmallDown => ("Small files down, sftp -r", "files/s", Higher),
            Self::SmallUpPuts => ("PUT per small file up", "requests", Lower),
            Self::SmallUpOthers => ("Other requests per small file up", "requests", Lower),
            Self::SmallDownGets => ("GET per small file down", "requests", Lower),
            Self::SmallDownOthers => ("Other requests per small file down", "requests", Lower),
            Self::LsCold => ("ls -l, first on the server", "s", Lower),
            Self::LsWarm => ("ls -l, again", "s", Lower),
            Self::LsThird => ("ls -l, a third time", "s", Lower),
            Self::LsLists => ("LIST per 1,000 entries, again", "requests", Lower),
            Self::LsOthers => ("Other requests of ls -l, again", "requests", Lower),
            Self::Logins => ("Logins, 16 at once", "logins/s", Higher),
            Self::LoginCpu => ("CPU of the server per login", "ms", Lower),
            Self::IdleMemory => ("Memory per idle session", "KiB", Lower),
            Self::PeakUp => ("Peak memory, 50 uploads at once", "MiB", Lower),
            Self::PeakDown => ("Peak memory, 50 downloads at once", "MiB", Lower),
            Self::FairUp => ("Slowest by fastest of 50 uploads", "times", Lower),
            Self::FairDown => ("Slowest by fastest of 50 downloads", "times", Lower),
        }
    }
}

/// What is done with 1, 4 and 16 times the work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Operation {
    /// Upload of one file.
    Upload,
    /// CPU of the node for it.
    UploadCpu,
    /// Requests to the store for it.
    UploadRequests,
    /// Download of one file.
    Download,
    /// CPU of the node for it.
    DownloadCpu,
    /// Requests to the store for it.
    DownloadRequests,
    /// Eight uploads at once.
    EightUp,
    /// Eight downloads at once.
    EightDown,
    /// The most memory in both.
    EightPeak,
    /// `sftp -r` upwards.
    SmallUp,
    /// Requests to the store for it.
    SmallUpRequests,
    /// `lftp mirror -R --parallel=8`.
    SmallUpLftp,
    /// `sftp -r` downwards.
    SmallDown,
    /// `ls -l` on a fresh server.
    LsCold,
    /// `ls -l` once more.
    LsWarm,
    /// Logins.
    Logins,
    /// CPU of the node for them.
    LoginCpu,
    /// Memory of idle sessions.
    Sessions,
}

impl Operation {
    /// All of them.
    pub(crate) const ALL: [Self; 18] = [
        Self::Upload,
        Self::UploadCpu,
        Self::UploadRequests,
        Self::Download,
        Self::DownloadCpu,
        Self::DownloadRequests,
        Self::EightUp,
        Self::EightDown,
        Self::EightPeak,
        Self::SmallUp,
        Self::SmallUpRequests,
        Self::SmallUpLftp,
        Self::SmallDown,
        Self::LsCold,
        Self::LsWarm,
        Self::Logins,
        Self::LoginCpu,
        Self::Sessions,
    ];

    /// For people.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Upload => "upload",
            Self::UploadCpu => "CPU of an upload",
            Self::UploadRequests => "requests of an upload",
            Self::Download => "download",
            Self::DownloadCpu => "CPU of a download",
            Self::DownloadRequests => "requests of a download",
            Self::EightUp => "eight uploads at once",
            Self::EightDown => "eight downloads at once",
            Self::EightPeak => "peak memory of eight",
            Self::SmallUp => "small files up, sftp -r",
            Self::SmallUpRequests => "requests of small files up",
            Self::SmallUpLftp => "small files up, lftp",
            Self::SmallDown => "small files down, sftp -r",
            Self::LsCold => "ls -l, cold",
            Self::LsWarm => "ls -l, again",
            Self::Logins => "logins",
            Self::LoginCpu => "CPU of logins",
            Self::Sessions => "idle sessions",
        }
    }

    /// What its cost is counted in.
    pub(crate) fn unit(self) -> &'static str {
        match self {
            Self::EightPeak | Self::Sessions => "MiB",
            Self::DownloadRequests | Self::SmallUpRequests | Self::UploadRequests => "requests",
            _ => "s",
        }
    }
}

/// Most memory that a node may have: its budget for file content, and 64 MiB for the rest.
pub(crate) fn memory_bound_mib() -> f64 {
    mib(MEMORY_BUDGET) + 64.0
}

/// Bytes in MiB.
pub(crate) fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

/// Bytes in GiB.
pub(crate) fn gib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 30)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_have_their_own_titles() {
        let mut titles = Figure::ALL.map(Figure::title).to_vec();
        titles.sort_unstable();
        titles.dedup();
        assert_eq!(titles.len(), Figure::ALL.len());
    }

    #[test]
    fn sizes_are_binary() {
        assert_eq!((mib(3 << 20), gib(1 << 29)), (3.0, 0.5));
    }
}
