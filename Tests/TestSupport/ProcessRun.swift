import Foundation
import Glibc

/// A child process that runs to its end.
///
/// Its output goes to files, not pipes: any amount fits, and a grandchild that outlives it cannot block the reader. It has
/// no input and its own process group.
public struct ProcessRun: Sendable {
  /// The results of a child process.
  public struct Output: Sendable {
    /// The exit code; 128 + n if signal n ended it, as in a shell.
    public let exitCode: Int32
    /// Everything written to standard output.
    public let standardOutput: String
    /// Everything written to standard error.
    public let standardError: String
    /// Whether it was killed at its time limit.
    public let timedOut: Bool

    /// The nonempty lines of standard output.
    public var lines: [String] { standardOutput.split(separator: "\n").map(String.init) }
  }

  /// The program's path.
  public var executable: String
  /// Its arguments.
  public var arguments: [String]
  /// Its whole environment.
  public var environment: [String: String]
  /// Its working directory; `nil` for that of this process.
  public var workingFolder: String?
  /// The time after which it is killed; a bound against hanging tests, which no test measures.
  public var limit: Duration

  /// Creates a child process.
  ///
  /// - Parameters:
  ///   - executable: The program's path.
  ///   - arguments: Its arguments.
  ///   - environment: Its whole environment; the default is that of this process.
  ///   - workingFolder: Its working directory. If `nil`, that of this process.
  ///   - limit: The time after which it is killed.
  public init(
    _ executable: String, _ arguments: [String] = [],
    environment: [String: String] = ProcessInfo.processInfo.environment,
    workingFolder: String? = nil, limit: Duration = .seconds(300)
  ) {
    self.executable = executable
    self.arguments = arguments
    self.environment = environment
    self.workingFolder = workingFolder
    self.limit = limit
  }

  /// Starts the program and waits for its end.
  ///
  /// - Parameter whileRunning: Called once with the process ID, after the start.
  /// - Returns: Its exit code and output.
  /// - Throws: `POSIXError` if it cannot be started.
  public func run(whileRunning: (pid_t) throws -> Void = { _ in }) throws -> Output {
    let folder = try TemporaryDirectory()
    let child = try spawn(output: folder.path + "/out", error: folder.path + "/err")
    var status: Int32 = 0
    var timedOut = false
    do { try whileRunning(child) } catch {
      kill(-child, SIGKILL)
      waitpid(child, &status, 0)
      throw error
    }
    let deadline = ContinuousClock.now + limit * Sanitizer.timeFactor
    while true {
      let ended = waitpid(child, &status, WNOHANG)
      if ended == child { break }
      if ended < 0, errno != EINTR { throw POSIXError(POSIXErrorCode(rawValue: errno) ?? .ECHILD) }
      if !timedOut, ContinuousClock.now > deadline {
        timedOut = true
        kill(-child, SIGKILL)
      }
      usleep(2_000)
    }
    let signal = status & 0x7f
    return Output(
      exitCode: signal == 0 ? (status >> 8) & 0xff : 128 + signal,
      standardOutput: folder.read("out"), standardError: folder.read("err"), timedOut: timedOut)
  }

  private func spawn(output: String, error: String) throws -> pid_t {
    var actions = posix_spawn_file_actions_t()
    posix_spawn_file_actions_init(&actions)
    defer { posix_spawn_file_actions_destroy(&actions) }
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
    posix_spawn_file_actions_addopen(&actions, 1, output, O_WRONLY | O_CREAT | O_APPEND, 0o600)
    posix_spawn_file_actions_addopen(&actions, 2, error, O_WRONLY | O_CREAT | O_APPEND, 0o600)
    var attributes = posix_spawnattr_t()
    posix_spawnattr_init(&attributes)
    defer { posix_spawnattr_destroy(&attributes) }
    var noSignals = sigset_t()
    sigemptyset(&noSignals)
    posix_spawnattr_setsigmask(&attributes, &noSignals)
    posix_spawnattr_setpgroup(&attributes, 0)
    posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK))

    // Swift's Glibc lacks the posix_spawn file action that changes the directory; env changes it and then executes the
    // program.
    let command =
      workingFolder.map { ["/usr/bin/env", "-C", $0, executable] } ?? [executable]
    var words = (command + arguments).map { strdup($0) } + [nil]
    var variables = environment.map { strdup("\($0.key)=\($0.value)") } + [nil]
    defer { for text in words + variables { free(text) } }
    var child: pid_t = 0
    let code = posix_spawn(&child, command[0], &actions, &attributes, &words, &variables)
    guard code == 0 else {
      throw POSIXError(
        POSIXErrorCode(rawValue: code) ?? .ENOENT, userInfo: [NSFilePathErrorKey: executable])
    }
    return child
  }
}
