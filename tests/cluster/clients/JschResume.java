import com.jcraft.jsch.ChannelSftp;
import com.jcraft.jsch.JSch;
import com.jcraft.jsch.Session;

/** Goes on with an upload. Usage: java JschResume.java HOST PORT USER KEY FILE REMOTE */
public class JschResume {
  public static void main(String[] arguments) throws Exception {
    JSch jsch = new JSch();
    jsch.addIdentity(arguments[3]);
    Session session = jsch.getSession(arguments[2], arguments[0], Integer.parseInt(arguments[1]));
    session.setConfig("StrictHostKeyChecking", "no");
    session.connect(20_000);
    ChannelSftp sftp = (ChannelSftp) session.openChannel("sftp");
    sftp.connect(20_000);
    // JSch has a directory of its own for relative names.
    sftp.put(new java.io.File(arguments[4]).getAbsolutePath(), arguments[5], ChannelSftp.RESUME);
    sftp.exit();
    session.disconnect();
  }
}
