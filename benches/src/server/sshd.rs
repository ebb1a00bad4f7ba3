//! OpenSSH's sshd with internal-sftp: on an s3fs mount, and on tmpfs.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::mount::{self, Mount};
use super::{Started, free_port, greeted};
use crate::error::{BenchError, during};
use crate::process::{Process, command};
use crate::testbed::{PREFIX, START_LIMIT, Testbed};

/// Where sshd, run by root, confines what has not logged in yet. Debian's service makes it at start.
const PRIVILEGE_SEPARATION: &str = "/run/sshd";

pub(super) async fn start_on_tmpfs(testbed: &Testbed, folder: &Path) -> Result<Started, BenchError> {
    // Not in the server's own folder: files outlive the server, as those in the store do.
    let files = testbed.make_folder("tmpfs")?;
    let (process, port) = start(testbed, folder, &files).await?;
    Ok(Started { port, user: testbed.system_user.clone(), processes: vec![process], mount: None })
}

pub(super) async fn start_on_s3fs(testbed: &Testbed, folder: &Path) -> Result<Started, BenchError> {
    let passwords = folder.join("s3fs-password");
    let secret = format!("{}:{}", testbed.ready.access_key, testbed.ready.secret_key);
    fs::write(&passwords, secret).map_err(during(passwords.display().to_string()))?;
    fs::set_permissions(&passwords, Permissions::from_mode(0o600)).map_err(during(passwords.display().to_string()))?;
    let (point, temporary) = (testbed.make_folder("server/mount")?, testbed.make_folder("server/tmp")?);

    let mut command = command("s3fs", folder);
    command.arg(&testbed.ready.bucket).arg(&point).arg("-f");
    for option in [
        format!("passwd_file={}", passwords.display()),
        format!("url={}", testbed.s3_url()),
        "use_path_request_style".to_owned(),
        format!("tmpdir={}", temporary.display()),
    ] {
        command.arg("-o").arg(option);
    }
    let mut s3fs = Process::start("s3fs", folder, command)?;
    s3fs.until("it is mounted", START_LIMIT, async |_| mount::is_mounted(&point).then_some(())).await?;
    let mount = Mount::new(point.clone());

    let files = point.join(PREFIX);
    fs::create_dir_all(&files).map_err(during("making a folder on s3fs"))?;
    let (sshd, port) = start(testbed, folder, &files).await?;
    Ok(Started { port, user: testbed.system_user.clone(), processes: vec![s3fs, sshd], mount: Some(mount) })
}

/// Starts sshd with sessions in `files`.
async fn start(testbed: &Testbed, folder: &Path, files: &Path) -> Result<(Process, u16), BenchError> {
    if rustix::process::geteuid().is_root() {
        fs::create_dir_all(PRIVILEGE_SEPARATION).map_err(during(PRIVILEGE_SEPARATION))?;
    }
    let port = free_port().await?;
    let config = folder.join("sshd_config");
    let text = format!(
        "Port {port}\nListenAddress 127.0.0.1\nHostKey {host_key}\nAuthorizedKeysFile {public_key}\n\
         AllowUsers {user}\nKbdInteractiveAuthentication no\nMaxSessions 4096\nMaxStartups 4096\n\
         PasswordAuthentication no\nPermitRootLogin prohibit-password\nPidFile none\nPrintLastLog no\n\
         PrintMotd no\nStrictModes no\nSubsystem sftp internal-sftp -d {files}\nUseDNS no\nUsePAM no\n",
        host_key = testbed.host_key().display(),
        public_key = testbed.client_key().with_extension("pub").display(),
        user = testbed.system_user,
        files = files.display(),
    );
    fs::write(&config, text).map_err(during(config.display().to_string()))?;
    // sshd runs itself anew for each connection and wants its whole path for that.
    let mut command = command("/usr/sbin/sshd", folder);
    command.args(["-D", "-e", "-f"]).arg(&config);
    let mut process = Process::start("sshd", folder, command)?;
    greeted(&mut process, port).await?;
    Ok((process, port))
}
