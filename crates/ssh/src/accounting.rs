//! How connections end and logins go: the words of logs and metrics.

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $word:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum $name {
            $($(#[$variant_doc])* $variant,)+
        }

        impl $name {
            pub(crate) const ALL: &[Self] = &[$(Self::$variant,)+];

            pub(crate) fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)+
                }
            }
        }
    };
}

words! {
    /// How a connection ended.
    Outcome {
        /// The client left after a login.
        Closed = "closed",
        /// The shutdown's deadline passed.
        Deadline = "deadline",
        /// The node is going down and the connection was idle.
        Drained = "drained",
        /// The transport failed, or the client broke the protocol.
        Error = "error",
        /// No SFTP traffic for the idle time-out.
        Idle = "idle",
        /// The client stopped answering.
        Lost = "lost",
        /// Closed at once: too many logins from the source have failed.
        LockedOut = "locked-out",
        /// Closed: no valid PROXY header from a balancer, or not in time.
        NoProxyHeader = "no-proxy-header",
        /// Closed at once: not from a balancer, and no others are let in.
        NotFromProxy = "not-from-proxy",
        /// Ended: the client asked for more channels, sent larger packets, offered more keys or
        /// sent more, before its login or while nothing could be answered, than a connection may.
        OverConnectionLimit = "over-connection-limit",
        /// Closed at once: the node has all the connections it may have.
        OverNodeLimit = "over-node-limit",
        /// Closed at once: the source has all the connections it may have.
        OverSourceLimit = "over-source-limit",
        /// Disconnected after its login: the tenant has all the sessions it may have.
        OverTenantLimit = "over-tenant-limit",
        /// Disconnected after its login: the user has all the sessions it may have.
        OverUserLimit = "over-user-limit",
        /// Closed at once: too many others are logging in.
        OverUnauthenticatedLimit = "over-unauthenticated-limit",
        /// Closed at once: too many others of the same source are logging in.
        OverUnauthenticatedSourceLimit = "over-unauthenticated-source-limit",
        /// Closed without a byte from the client, as a balancer's health check does.
        Probe = "probe",
        /// Disconnected: the account may no longer log in with this key.
        Revoked = "revoked",
        /// The login took longer than it may.
        Timeout = "timeout",
        /// Ended before a login succeeded.
        Unauthenticated = "unauthenticated",
    }
}

words! {
    /// How a login went.
    LoginResult {
        /// Accepted.
        Accepted = "accepted",
        /// The user or the tenant is disabled.
        Disabled = "disabled",
        /// The key has expired.
        Expired = "expired",
        /// Too many logins of the user from this source have failed.
        LockedOut = "locked-out",
        /// Unknown user, wrong key, weak algorithm or no key at all.
        Rejected = "rejected",
        /// It took longer than it may.
        Timeout = "timeout",
        /// The account could not be looked up.
        Unavailable = "unavailable",
    }
}

words! {
    /// What a login with a limit on sessions met.
    SessionCheck {
        /// The cluster's count is within the limit.
        Admitted = "admitted",
        /// It is not.
        Refused = "refused",
        /// The cluster's count could not be learned: the node's own is within the limit.
        Unchecked = "unchecked",
    }
}

words! {
    /// Who is locked out.
    LockOut {
        /// All of a source.
        Source = "source",
        /// One user from one source.
        User = "user",
    }
}
