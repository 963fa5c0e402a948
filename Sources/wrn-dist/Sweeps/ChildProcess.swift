import Collectives
import Foundation
import Glibc
import Training

/// A child process in its own process group, without input, whose output is appended to a file.
struct ChildProcess {
  /// Its process ID.
  let id: pid_t

  /// Starts a program.
  ///
  /// The group keeps Ctrl-C of a terminal from the child, to which the parent passes one stop request on.
  ///
  /// - Parameters:
  ///   - words: The program, found in `PATH`, and its arguments.
  ///   - log: The file of its output and errors. If `nil`, those of this process.
  /// - Throws: `CheckpointError` if the file cannot be written, `StartupFailure` if the program cannot be started.
  init(_ words: [String], log: String?) throws {
    var output: Int32 = -1
    defer { if output >= 0 { close(output) } }
    if let log {
      output = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0o644)
      guard output >= 0 else {
        let reason = String(cString: strerror(errno))
        throw CheckpointError(
          .cannotCreate, "\(log) cannot be written (\(reason)); remove it, or give another --output-dir.")
      }
    }
    var actions = posix_spawn_file_actions_t()
    posix_spawn_file_actions_init(&actions)
    defer { posix_spawn_file_actions_destroy(&actions) }
    posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0)
    if output >= 0 {
      posix_spawn_file_actions_adddup2(&actions, output, STDOUT_FILENO)
      posix_spawn_file_actions_adddup2(&actions, output, STDERR_FILENO)
    }
    var attributes = posix_spawnattr_t()
    posix_spawnattr_init(&attributes)
    defer { posix_spawnattr_destroy(&attributes) }
    // Signals that this process ignores or has blocked would stay so in the child.
    var (none, defaults) = (sigset_t(), sigset_t())
    sigemptyset(&none)
    sigemptyset(&defaults)
    sigaddset(&defaults, SIGPIPE)
    sigaddset(&defaults, SIGXFSZ)
    posix_spawnattr_setsigmask(&attributes, &none)
    posix_spawnattr_setsigdefault(&attributes, &defaults)
    posix_spawnattr_setpgroup(&attributes, 0)
    posix_spawnattr_setflags(
      &attributes, Int16(POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF))
    var arguments = words.map { strdup($0) } + [nil]
    defer { for argument in arguments { free(argument) } }
    var child: pid_t = 0
    let code = posix_spawnp(&child, words[0], &actions, &attributes, &arguments, environ)
    guard code == 0 else {
      throw StartupFailure(
        exitCode: ExitCodes.peerFailure,
        message: "\(words[0]) could not be started (\(String(cString: strerror(code)))); is it installed and in your "
          + "PATH?")
    }
    id = child
  }

  /// Returns the exit code if the process has ended, 128 + n if signal n ended it; `nil` while it runs.
  func exitCode() -> Int32? {
    var status: Int32 = 0
    guard waitpid(id, &status, WNOHANG) == id else { return nil }
    let signal = status & 0x7f
    return signal == 0 ? (status >> 8) & 0xff : 128 + signal
  }

  /// Sends a signal to the process, which passes it on to its own children.
  func send(_ signal: Int32) { kill(id, signal) }

  /// Ends the process and all that it has started in its group.
  func killGroup() { kill(-id, SIGKILL) }
}
