//! HAProxy as the balancer in front of several nodes, one server to its clients.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::node::Node;
use crate::process::Process;
use crate::wait::until;

const LIMIT: Duration = Duration::from_secs(20);

/// How the balancer finds out whether a node takes connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Check {
    /// It connects to where clients connect, takes the greeting of SSH, and leaves.
    Banner,
    /// It connects there, and leaves. Without a PROXY header it does that so early that the node never
    /// learns of it.
    Connect,
    /// It asks the side port for `/readyz`.
    Readiness,
}

/// A running HAProxy with places for nodes, which it fills in turn. It forwards TCP.
#[derive(Debug)]
pub struct Haproxy {
    address: SocketAddr,
    commands: PathBuf,
    check: Check,
    process: Process,
}

/// What HAProxy says of one place.
#[derive(Clone, Debug)]
pub struct Server {
    /// `UP`, `DOWN`, `MAINT`, and steps between, such as `UP 1/2`.
    pub status: String,
    /// How the last check went: `L7OK`, `L7STS` (another status than 200), `L4CON`…
    pub last_check: String,
    /// Connections that it got in all.
    pub connections: u64,
    /// Bytes that its clients sent to it in all, those of connections that are open included.
    pub bytes_in: u64,
}

impl Haproxy {
    /// How often a node is checked; two checks that fail take it out, one that succeeds takes it in.
    pub const INTERVAL: Duration = Duration::from_millis(200);

    /// Starts one with `places` empty places; with `proxy_protocol`, connections and checks begin with
    /// a PROXY header of version 2.
    ///
    /// # Panics
    /// If it does not serve.
    pub fn start(folder: &Path, places: usize, check: Check, proxy_protocol: bool) -> Self {
        // HAProxy can't be told to take any port; but it serves a listener that it inherits.
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port on loopback");
        let address = listener.local_addr().expect("a listener knows its address");
        let name = format!("haproxy-{}", address.port());
        let (file, commands) = (folder.join(format!("{name}.cfg")), folder.join(format!("{name}.sock")));
        std::fs::write(&file, config(places, check, proxy_protocol, &commands)).expect("a file can be written");
        let mut command = Command::new(program());
        command.arg("-db").arg("-f").arg(&file);
        let input = Stdio::from(OwnedFd::from(listener));
        let process = Process::start_with_input(&name, folder, &mut command, input);
        let mut haproxy = Self { address, commands, check, process };
        until("HAProxy takes commands", LIMIT, || {
            haproxy.process.assert_running();
            UnixStream::connect(&haproxy.commands).ok().map(drop)
        });
        haproxy
    }

    /// Where clients connect.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Puts a node in a place, instead of what is there, and waits until it is found to be up.
    ///
    /// # Panics
    /// If it is not.
    pub fn put(&self, place: usize, node: &Node) {
        let server = format!("nodes/node{place}");
        let (sftp, admin) = (node.ready().sftp, node.admin_address());
        let checked = if self.check == Check::Readiness { admin } else { sftp };
        // Nothing is forwarded while the two addresses change.
        self.command(&format!("set server {server} state maint"));
        self.command(&format!("set server {server} addr {} port {}", sftp.ip(), sftp.port()));
        self.command(&format!("set server {server} check-addr {} port {}", checked.ip(), checked.port()));
        self.command(&format!("set server {server} state ready"));
        until(&format!("HAProxy finds {server} up"), LIMIT, || {
            let now = self.server(place);
            (now.status == "UP" && now.last_check.ends_with("OK")).then_some(())
        });
    }

    /// What it says of a place.
    ///
    /// # Panics
    /// If it does not.
    pub fn server(&self, place: usize) -> Server {
        let table = self.command("show stat");
        let mut lines = table.lines().map(|line| line.split(',').collect::<Vec<_>>());
        let head = lines.next().expect("a line of names");
        let name = format!("node{place}");
        let row = lines.find(|row| row.get(1) == Some(&name.as_str())).expect("a row for each place");
        let cell = |name: &str| {
            let column = head.iter().position(|head| *head == name);
            (*row.get(column.expect("HAProxy has that column")).expect("each row has all columns")).to_owned()
        };
        let number = |name| cell(name).parse().expect("a number");
        Server {
            status: cell("status"),
            last_check: cell("check_status"),
            connections: number("stot"),
            bytes_in: number("bin"),
        }
    }

    fn command(&self, command: &str) -> String {
        let mut stream = UnixStream::connect(&self.commands).expect("HAProxy takes commands");
        writeln!(stream, "{command}").expect("a command can be sent");
        stream.shutdown(Shutdown::Write).expect("a command has an end");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("HAProxy answers");
        answer
    }
}

/// Debian installs it for root alone to find.
fn program() -> &'static str {
    if Path::new("/usr/sbin/haproxy").exists() { "/usr/sbin/haproxy" } else { "haproxy" }
}

fn config(places: usize, check: Check, proxy_protocol: bool, commands: &Path) -> String {
    let check = match check {
        Check::Banner => "option tcp-check\n  tcp-check expect rstring ^SSH-2.0",
        Check::Connect => "",
        Check::Readiness => "option httpchk GET /readyz",
    };
    let headers = if proxy_protocol { "send-proxy-v2 check-send-proxy" } else { "" };
    let servers: String =
        (0..places).map(|place| format!("  server node{place} 127.0.0.1:1 disabled check\n")).collect();
    format!(
        "global
  nbthread 1
  stats socket {commands} level admin
defaults
  mode tcp
  timeout connect 1s
  timeout client 1h
  timeout server 1h
  timeout check 1s
  option contstats
frontend clients
  bind fd@0
  default_backend nodes
backend nodes
  balance roundrobin
  # A node that is gone since the last check: the next one is tried.
  option redispatch 1
  retries 3
  {check}
  default-server inter {interval} fall 2 rise 1 {headers}
{servers}",
        commands = commands.display(),
        interval = Haproxy::INTERVAL.as_millis(),
    )
}
