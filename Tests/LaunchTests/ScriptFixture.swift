import Foundation
import Glibc
import TestSupport
import Testing

/// A copy of the launch scripts in a temporary directory, on a machine simulated by stubs.
///
/// Only the stubs and a few harmless tools are on PATH, so nothing is installed, built or submitted,
/// and this machine's programs have no effect. Every stub logs its calls.
final class ScriptFixture: Sendable {
  private let folder: TemporaryDirectory

  /// Creates the copy, with stubs for a machine on which everything is installed.
  init() throws {
    folder = try TemporaryDirectory()
    for name in ["launch", "hostfiles"] {
      try folder.copyScripts(Self.repository.appendingPathComponent(name))
    }
    for tool in Self.tools {
      try FileManager.default.createDirectory(
        at: folder.url.appendingPathComponent("tools"), withIntermediateDirectories: true)
      try FileManager.default.createSymbolicLink(
        atPath: "\(path)/tools/\(tool)",
        withDestinationPath: try BuiltProducts.installed(tool))
    }
    let all = [
      "pkg-config", "libopenmpi-dev", "openmpi-bin", "libopenblas-dev", "libssl-dev", "libpng-dev", "libturbojpeg0-dev",
      "zlib1g-dev", "shellcheck", "util-linux", "iproute2", "curl", "slurm-wlm", "munge",
    ]
    try setInstalled(all)
    try stub("dpkg-query", #"grep -qx -- "${@: -1}" "$FIXTURE/installed" && printf installed"#)
    try stub(
      "apt-get",
      #"""
      [ "$1" = install ] || exit 0
      for word; do
        case $word in install | -*) ;; *) echo "$word" >>"$FIXTURE/installed" ;; esac
      done
      """#
    )
    try stub("swift", #"[ "$1" != --version ] || echo "Swift version 6.3.1 (swift-6.3.1-RELEASE)""#)
    try stub("id", "echo 0")
    try setCores(8)
    try stub("mpirun", "exit 0")
    try folder.writeScript(".build/release/wrn-dist", "#!/bin/bash\n")
  }

  /// The repository whose scripts are tested.
  static let repository = URL(fileURLWithPath: #filePath)
    .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()

  private static let tools = [
    "awk", "basename", "bash", "cat", "date", "dirname", "env", "grep", "head", "mkdir", "mktemp", "rm", "sed",
    "sleep", "sort", "tail", "tee", "tr", "wc",
  ]

  /// The body of a stub of mpirun that trains until USR1 requests a stop.
  static let stoppable = """
    trap 'echo "mpirun got USR1" >>"$FIXTURE/log"; exit 75' USR1
    trap 'echo "mpirun got TERM" >>"$FIXTURE/log"; exit 1' TERM
    echo ready >>"$FIXTURE/log"
    for ((i = 0; i < 600; i++)); do sleep 0.1; done
    """

  /// The start of a stub's body that waits until a test has written the file `sent`.
  static let blocked = #"echo ready >>"$FIXTURE/log"; until [ -e "$FIXTURE/sent" ]; do sleep 0.1; done; "#

  /// The root of the copy.
  var path: String { folder.path }
  /// The stubs' calls so far, one per line: name and arguments.
  var calls: [String] { folder.read("log").split(separator: "\n").map(String.init) }

  /// Writes a stub that logs its call and runs a body; one of `mpirun` first answers a question for its version.
  func stub(_ name: String, _ body: String) throws {
    let version =
      name == "mpirun" ? #"[ "$1" = --version ] && { echo "mpirun (Open MPI) ${MPI_VERSION:-4.1.4}"; exit; }"# : ""
    try folder.writeScript(
      "stubs/\(name)", "#!/bin/bash\n\(version)\necho \"\(name) $*\" >>\"$FIXTURE/log\"\n\(body)\n")
  }

  /// Writes the copy's stub of wrn-dist.
  func replaceProgram(_ text: String) throws { try folder.writeScript(".build/release/wrn-dist", text) }

  /// Removes a stub, so that the machine does not have this program.
  func remove(_ name: String) throws {
    try FileManager.default.removeItem(atPath: "\(path)/stubs/\(name)")
  }

  /// Sets the packages that `dpkg-query` reports as installed.
  func setInstalled(_ packages: [String]) throws {
    try folder.write("installed", packages.map { $0 + "\n" }.joined())
  }

  /// Sets the machine's physical cores and hardware threads per core.
  func setCores(_ cores: Int, threadsPerCore: Int = 1) throws {
    try folder.writeScript("stubs/nproc", "#!/bin/bash\necho \(cores * threadsPerCore)\n")
    try folder.writeScript(
      "stubs/lscpu",
      """
      #!/bin/bash
      [ $# -gt 0 ] || { echo 'Thread(s) per core: \(threadsPerCore)'; exit; }
      for ((i = 0; i < \(cores * threadsPerCore); i++)); do echo "$((i % \(cores))),0"; done
      """)
  }

  /// Writes another program of the copy.
  func replaceProgram(of name: String, _ text: String) throws { try folder.writeScript(name, text) }

  /// Creates a directory in the copy.
  func makeDirectory(_ name: String) throws {
    try FileManager.default.createDirectory(atPath: "\(path)/\(name)", withIntermediateDirectories: true)
  }

  /// Writes a file into the copy.
  @discardableResult
  func write(_ name: String, _ text: String) throws -> String { try folder.write(name, text) }

  /// Reads a file of the copy.
  func read(_ name: String) -> String { folder.read(name) }

  /// Runs a script of the copy from another directory.
  func run(
    _ script: String, _ arguments: [String] = [], environment: [String: String] = [:],
    whileRunning: (pid_t) throws -> Void = { _ in }
  ) throws -> ProcessRun.Output {
    let variables = [
      "PATH": "\(path)/stubs:\(path)/tools", "FIXTURE": path, "HOME": path, "WRN_RESTART_SECONDS": "0",
    ]
    return try ProcessRun(
      "\(path)/launch/\(script)", arguments,
      environment: variables.merging(environment) { $1 }, workingFolder: "/",
      limit: .seconds(60)
    ).run(whileRunning: whileRunning)
  }

  /// Sends a signal to a script once a stub has written `line` to the log.
  func send(_ signal: Int32, to process: pid_t, after line: String = "ready") throws {
    for _ in 0..<3_000 where !calls.contains(line) { usleep(10_000) }
    try #require(calls.contains(line))
    #expect(kill(process, signal) == 0)
  }
}
