//! What one client may ask of its connection, and what becomes of a connection that asks for more.

use russh::server::{ChannelOpenHandle, Session};
use russh::{ChannelOpenFailure, Disconnect};

use super::Handler;
use crate::accounting::Outcome;
use crate::config::Config;
use crate::connection::Ending;

/// Channels that may be refused on one connection. Fewer than may be opened: no client needs them,
/// and while it lets a key exchange wait they all stay in the transport.
const MAX_REFUSED_OPENS: u32 = 64;

impl Handler {
    /// Ends the connection before its next packet is read, which would come first if only the
    /// connection's own task ended it.
    fn end(&self, ending: Ending, session: &mut Session) -> Result<(), russh::Error> {
        session.disconnect(Disconnect::ByApplication, ending.text, "en")?;
        self.connection.end(ending);
        Ok(())
    }

    /// Counts a channel that the client asks for; whether it may.
    pub(super) fn may_ask_for_channel(&mut self, session: &mut Session) -> Result<bool, russh::Error> {
        self.opens = self.opens.saturating_add(1);
        let may = self.opens <= self.node.config.max_channel_opens;
        if !may {
            self.end(over_limit("disconnected: too many channels were opened on one connection"), session)?;
        }
        Ok(may)
    }

    /// Counts a refused channel.
    pub(super) fn channel_refused(&mut self, session: &mut Session) -> Result<(), russh::Error> {
        self.refused_opens = self.refused_opens.saturating_add(1);
        if self.refused_opens > MAX_REFUSED_OPENS {
            self.end(over_limit("disconnected: too many channels were refused on one connection"), session)?;
        }
        Ok(())
    }

    /// Refuses a channel of a kind that nobody gets.
    pub(super) async fn refuse_channel(
        &mut self,
        reply: ChannelOpenHandle,
        session: &mut Session,
    ) -> Result<(), russh::Error> {
        if self.may_ask_for_channel(session)? {
            reply.reject(ChannelOpenFailure::AdministrativelyProhibited).await;
            self.channel_refused(session)?;
        }
        Ok(())
    }

    /// Whether what a packet carries is no larger than we announced; the end of the connection
    /// otherwise, since a channel's buffer counts packets.
    pub(super) fn fits(&self, length: usize, session: &mut Session) -> Result<bool, russh::Error> {
        let fits = length <= usize::try_from(Config::MAX_PACKET).unwrap_or(usize::MAX);
        if !fits {
            self.end(over_limit("disconnected: a packet was larger than announced"), session)?;
        }
        Ok(fits)
    }
}

pub(super) fn over_limit(text: &'static str) -> Ending {
    Ending { outcome: Outcome::OverConnectionLimit, text }
}
