import com.jcraft.jsch.ChannelSftp;
import com.jcraft.jsch.JSch;
import com.jcraft.jsch.Session;
import com.jcraft.jsch.SftpATTRS;
import java.io.ByteArrayInputStream;
import java.util.Vector;

/** Everyday work with JSch's defaults. Usage: java JschTransfer.java PORT USER KEY FILE BACK */
public class JschTransfer {
  public static void main(String[] arguments) throws Exception {
    JSch jsch = new JSch();
    jsch.addIdentity(arguments[2]);
    Session session = jsch.getSession(arguments[1], "127.0.0.1", Integer.parseInt(arguments[0]));
    session.setConfig("StrictHostKeyChecking", "no");
    session.connect(20_000);
    ChannelSftp sftp = (ChannelSftp) session.openChannel("sftp");
    sftp.connect(20_000);
    String file = arguments[3];
    sftp.mkdir("dir");
    sftp.cd("dir");
    sftp.put(file, "file");
    SftpATTRS attributes = sftp.stat("file");
    check(attributes.getSize() == new java.io.File(file).length(), "the size");
    sftp.get("file", arguments[4]);
    sftp.put(new ByteArrayInputStream("a few bytes".getBytes()), "small", ChannelSftp.OVERWRITE);
    sftp.rename("small", "renamed");
    sftp.chmod(0600, "renamed");
    check((sftp.stat("renamed").getPermissions() & 0777) == 0600, "the mode");
    sftp.setMtime("renamed", 1_100_000_000);
    check(sftp.stat("renamed").getMTime() == 1_100_000_000, "the time");
    Vector<?> entries = sftp.ls("*");
    check(entries.size() == 2, "the names: " + entries);
    sftp.rm("*");
    sftp.cd("..");
    sftp.rmdir("dir");
    sftp.exit();
    session.disconnect();
  }

  private static void check(boolean holds, String what) {
    if (!holds) {
      throw new AssertionError(what);
    }
  }
}
