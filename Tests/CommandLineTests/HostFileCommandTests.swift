import Foundation
import TestSupport
import Testing

/// `wrn-dist doctor --hostfile`.
@Suite struct HostFileCommandTests {
  private func check(
    _ folder: TemporaryDirectory, _ flags: [String], environment: [String: String] = [:]
  ) throws -> ProcessRun.Output {
    var job = Job(folder, ["doctor", "--hostfile"] + flags)
    job.environment = environment
    return try job.run()
  }

  @Test func aValidFile() throws {
    let folder = try TemporaryDirectory()
    try folder.write("hosts", "127.0.0.1 slots=4 # here\n")
    let output = try check(folder, ["hosts", "--reach"])
    #expect(output.exitCode == 0, "\(output.standardError)")
    #expect(output.lines == ["hosts: Open MPI format, 1 host, 4 slots", "every host is known and reachable"])
    let quiet = try check(folder, ["hosts", "--quiet"])
    #expect(quiet.exitCode == 0 && quiet.standardOutput.isEmpty && quiet.standardError.isEmpty)
  }

  @Test func anotherFormatIsRefusedOrConverted() throws {
    let folder = try TemporaryDirectory()
    for (name, text, words) in [
      ("mpich", "127.0.0.1:2\n", "Open MPI's is 127.0.0.1 slots=2"),
      ("windows", "127.0.0.1 slots=2\r\n", "CR LF"),
      ("slurm", "127.0.0.[1-1] slots=2\n", "Slurm node list"),
    ] {
      try folder.write(name, text)
      let refused = try check(folder, [name])
      #expect(refused.exitCode == 64 && refused.refusals.count == 1, "\(refused.standardError)")
      #expect(refused.refusals.first?.contains("the host file \(name), line 1: ") == true)
      #expect(refused.standardError.contains(words) && refused.standardError.contains("--write OUT"))
      #expect(refused.lines.contains("127.0.0.1 slots=2"), "the converted file is printed")
      let written = try check(folder, [name, "--write", "out"])
      #expect(written.exitCode == 0, "\(written.standardError)")
      #expect(folder.read("out").hasSuffix("\n127.0.0.1 slots=2\n"))
      #expect(try check(folder, ["out"]).exitCode == 0)
      #expect(folder.names("").contains("out.tmp") == false)
    }
  }

  /// The check accepts and refuses the same files as `mpirun`.
  @Test(arguments: [
    ("127.0.0.1 slots = 2 // two\n", true), ("localhost:2\n", false), ("127.0.0.1 slots=2\r\n", false),
    ("127.0.0.1 slots=2 max_slots=1\n", false), ("127.0.0.1 slot=2\n", false), ("127.0.0.1 slots=0\n", false),
    ("127.0.0.1\n127.0.0.1\n", true), ("127.0.0.1 slots=1 slots=2\n", false),
  ])
  func mpirunAgrees(text: String, isFine: Bool) throws {
    let folder = try TemporaryDirectory()
    try folder.write("hosts", text)
    #expect((try check(folder, ["hosts"]).exitCode == 0) == isFine)
    var job = MPIRun(ranks: 1, "/bin/echo", ["started"])
    job.placement = ["--hostfile", folder.path + "/hosts", "--bind-to", "none"]
    // Not the exit code: after some parse errors mpirun starts nothing and exits with 0.
    #expect((try job.run().standardOutput.contains("started")) == isFine)
  }

  @Test func anUnreadableOrEmptyFile() throws {
    let folder = try TemporaryDirectory()
    #expect(try check(folder, ["nowhere"]).exitCode == 65)
    #expect(try check(folder, ["nowhere"]).standardError.contains("the host file nowhere cannot be read"))
    try folder.write("empty", "# nothing\n")
    #expect(try check(folder, ["empty"]).exitCode == 64)
    let unwritable = try folder.write("hosts", "127.0.0.1 slots=1\n")
    #expect(try check(folder, [unwritable, "--write", "no/out"]).exitCode == 73)
  }

  @Test func anUnknownHost() throws {
    let folder = try TemporaryDirectory()
    try folder.write("hosts", "127.0.0.1 slots=1\nno-such-host.invalid slots=1\n")
    let output = try check(folder, ["hosts"])
    #expect(output.exitCode == 69 && output.refusals.count == 1, "\(output.standardError)")
    #expect(output.refusals.first?.contains("line 2: the host no-such-host.invalid is unknown here") == true)
  }

  @Test func anUnreachableHost() throws {
    let folder = try TemporaryDirectory()
    // An address of the documentation range, never used: the agent returns at once.
    try folder.write("hosts", "127.0.0.1 slots=1\n203.0.113.7 slots=1\n")
    try folder.writeScript("agent", "#!/bin/sh\necho \"connect to host $1: No route to host\" >&2\nexit 255\n")
    let agent = ["OMPI_MCA_plm_rsh_agent": folder.path + "/agent"]
    let output = try check(folder, ["hosts", "--reach"], environment: agent)
    #expect(output.exitCode == 69 && output.refusals.count == 1, "\(output.standardError)")
    #expect(
      output.refusals.first?.contains(
        "line 2: the host 203.0.113.7 cannot be reached (connect to host 203.0.113.7: No route to host)") == true)
    try folder.writeScript("agent", "#!/bin/sh\nsleep 600\n")
    let silent = try check(folder, ["hosts", "--reach"], environment: agent)
    #expect(silent.exitCode == 69 && silent.standardError.contains("no answer within 10 s"))
    try folder.writeScript("agent", "#!/bin/sh\nexit 0\n")
    #expect(try check(folder, ["hosts", "--reach"], environment: agent).exitCode == 0)
  }

  @Test func tooManyRanksAreWarnedAbout() throws {
    let folder = try TemporaryDirectory()
    try folder.write("hosts", "127.0.0.1 slots=4\n127.0.0.1 slots=2\n")
    let output = try check(folder, ["hosts", "--ranks", "9", "--quiet"])
    #expect(output.exitCode == 0, "\(output.standardError)")
    let warnings = output.standardError.split(separator: "\n")
    #expect(warnings.count == 3 && warnings.allSatisfy { $0.hasPrefix("wrn-dist: warning: hosts, ") })
    #expect(output.standardError.contains("9 ranks do not fit 6 slots"))
    #expect(output.standardError.contains("9 ranks cannot share 8 microbatches"))
    #expect(output.standardError.contains("their slots add up to 6"))
  }

  @Test func aNetworkThatThisHostLacks() throws {
    let folder = try TemporaryDirectory()
    try folder.write("hosts", "127.0.0.1 slots=4\n")
    let wrong = try check(folder, ["hosts", "--interface", "203.0.113.0/24"])
    #expect(wrong.exitCode == 64 && wrong.standardError.contains("contains no address of this host"))
    let right = try check(folder, ["hosts", "--interface", "127.0.0.0/8"])
    #expect(right.exitCode == 0 && right.standardOutput.contains("btl_tcp_if_include"))
  }

  @Test func flagsThatNeedAHostFile() throws {
    let output = try Job(TemporaryDirectory(), ["doctor", "--write", "out"]).run()
    #expect(output.exitCode == 64 && output.standardError.contains("need --hostfile"))
  }
}

extension ProcessRun.Output {
  /// The error lines without the warnings.
  fileprivate var refusals: [String] { errorLines.filter { $0.contains("error: ") } }
}
