import Foundation
import TestSupport
import Testing

/// Several emulated hosts on one machine: namespaces with separate host names and addresses.
@Suite(.serialized) struct EmulatedHostsTests {
  /// The reason why hosts cannot be emulated here, if any.
  private static let obstacle: String? = {
    guard geteuid() == 0 else { return "network namespaces need root" }
    for tool in ["ip", "tc", "unshare", "mpirun"] where (try? BuiltProducts.installed(tool)) == nil {
      return "\(tool) is not installed; run launch/setup --test"
    }
    let name = "wrn-test-\(getpid())"
    let attempt = try? ProcessRun("/bin/sh", ["-c", "ip netns add \(name) && ip netns del \(name)"]).run()
    return attempt?.exitCode == 0 ? nil : "this container may not create network namespaces"
  }()

  private func run(
    _ folder: TemporaryDirectory, _ arguments: [String], whileRunning: (pid_t) throws -> Void = { _ in }
  ) throws -> ProcessRun.Output {
    var process: pid_t = 0
    let output = try ProcessRun(
      ScriptFixture.repository.path + "/launch/emulate-hosts", arguments, environment: MPIRun.environment(adding: [:]),
      workingFolder: folder.path, limit: .seconds(180)
    ).run { child in
      process = child
      try whileRunning(child)
    }
    let left = Self.namespaces().filter { $0.hasPrefix("wrn-\(process)-") }
    #expect(left.isEmpty, "everything is removed at the end")
    return output
  }

  private static let training = [
    "--depth", "10", "--batch-size", "16", "--data", "synthetic", "--eval-every", "0", "--steps", "4",
  ]

  /// The network namespaces of this machine; none without `ip`.
  private static func namespaces() -> [Substring] {
    let output = try? ProcessRun(BuiltProducts.installed("ip"), ["netns", "list"]).run()
    return (output?.standardOutput ?? "").split(separator: "\n")
  }

  @Test(.enabled(if: obstacle == nil, Comment(rawValue: obstacle ?? "")))
  func twoHostsAreBitwiseIdenticalToOneProcess() throws {
    let folder = try TemporaryDirectory()
    let program = ScriptFixture.repository.path + "/.build/release/wrn-dist"
    let alone = try ProcessRun(
      program, Self.training + ["--output-dir", "alone"], environment: MPIRun.environment(adding: [:]),
      workingFolder: folder.path
    ).run()
    #expect(alone.exitCode == 0, "\(alone.standardError)")
    let flags = Self.training + ["--output-dir", "two", "--trace", "t.json"]
    let output = try run(folder, ["--rate", "400mbit", "--"] + flags)
    #expect(output.exitCode == 0, "\(output.standardError)")
    #expect(output.standardOutput.contains("4 rank(s)"))
    let digests = try ["alone", "two"].map { run in
      try ProcessRun(program, ["inspect", "--digest", run], workingFolder: folder.path).run().standardOutput
    }
    #expect(digests[0] == digests[1] && digests[0].count == 65)
    // Both hosts participated under their own names, and their bytes crossed the bridge.
    let trace = folder.read("t.json")
    #expect(trace.contains("rank 0 on emulated1") && trace.contains("rank 2 on emulated2"))
    for host in 1...2 {
      let line = output.lines.first { $0.contains("emulated\(host) sent") } ?? ""
      let bytes = Int(line.split(separator: " ").dropLast().last ?? "") ?? 0
      #expect(bytes > 4 * 77_850, "less than a gradient: \(line)")
    }
  }

  @Test(.enabled(if: obstacle == nil, Comment(rawValue: obstacle ?? "")))
  func doctorSeesTheHosts() throws {
    let output = try run(TemporaryDirectory(), ["--hosts", "3", "--slots", "1", "--command", "doctor", "--"])
    #expect(output.exitCode == 0, "\(output.standardError)")
    #expect(output.standardOutput.contains("3 on 3 hosts (1, 1, 1)"))
    #expect(output.lines.contains { $0.hasPrefix("host ") && $0.hasSuffix("emulated1") })
  }

  @Test(.enabled(if: obstacle == nil, Comment(rawValue: obstacle ?? "")))
  func aSignalWritesACheckpointAndRemovesTheNamespaces() throws {
    let folder = try TemporaryDirectory()
    let flags = Self.training + ["--steps", "100000", "--output-dir", "run"]
    let output = try run(folder, ["--"] + flags) { child in
      for _ in 0..<600 where !folder.read("run/metrics.jsonl").contains("train") { usleep(100_000) }
      kill(child, SIGTERM)
    }
    #expect(output.exitCode == 75, "\(output.standardError)")
    #expect(folder.read("run/checkpoints/latest").hasPrefix("step-"))
  }

  /// A link that loses packets, also of one direction, ends the job, and the run resumes on the host that is left.
  @Test(.enabled(if: obstacle == nil, Comment(rawValue: obstacle ?? "")), arguments: ["2@5", "2@5:out", "1@5:in"])
  func aLostLink(cut: String) throws {
    let folder = try TemporaryDirectory()
    let flags = Self.training + ["--checkpoint-every", "5", "--stall-timeout", "10", "--output-dir", "run", "--steps"]
    let output = try run(folder, ["--slots", "1", "--cut", cut, "--"] + flags + ["100000"])
    #expect(output.exitCode != 0 && !output.timedOut, "\(output.standardError)")
    #expect(output.standardOutput.contains("emulated\(cut.prefix(1)) has lost its link"))
    #expect(output.standardError.contains("emulated2"), "the other host is named: \(output.standardError)")
    let saved = Int(folder.read("run/checkpoints/latest").filter(\.isNumber)) ?? 0
    #expect(saved > 0)
  }

  /// A host that is lost for good is left out, and the result is that of an undisturbed run.
  @Test(.enabled(if: obstacle == nil, Comment(rawValue: obstacle ?? "")))
  func aLostHostIsLeftOut() throws {
    let folder = try TemporaryDirectory()
    let checkpoints = ["--checkpoint-every", "20", "--stall-timeout", "10"]
    // Long enough for the cut on any machine: 1,000 steps of two hosts take 4.5 s with AVX-512.
    let flags = Self.training + checkpoints + ["--steps", "4000", "--output-dir"]
    let output = try run(folder, ["--slots", "1", "--cut", "2@3", "--restarts", "3", "--"] + flags + ["run"])
    #expect(output.exitCode == 0, "\(output.standardError)")
    #expect(output.standardOutput.contains("Leaving out the host emulated2"), "\(output.standardOutput)")
    let program = ScriptFixture.repository.path + "/.build/release/wrn-dist"
    _ = try ProcessRun(
      program, flags + ["whole"], environment: MPIRun.environment(adding: [:]), workingFolder: folder.path
    ).run()
    let digests = try ["run", "whole"].map { run in
      try ProcessRun(program, ["inspect", "--digest", run], workingFolder: folder.path).run().standardOutput
    }
    #expect(digests[0] == digests[1] && digests[0].count == 65)
  }

  @Test func mistakesAreRefused() throws {
    for (arguments, words) in [
      (["--hosts", "5"], "--hosts 5 must lie between 2 and 4"), (["--hosts", "1"], "--hosts 1"),
      (["--slots", "0"], "--slots must be a positive number"), (["--frobnicate"], "unknown argument"),
      (["--rate"], "needs a value"), (["--rate", "fast"], "--rate fast is not a rate of tc"),
      (["--cut", "3@5"], "--cut 3@5 is not HOST@SECONDS"), (["--cut", "2@x"], "--cut 2@x is not"),
      (["--cut", "2@5:up"], "--cut 2@5:up is not"), (["--restarts", "no"], "--restarts must be a positive number"),
      (["--hosts", "99999999999999999999"], "--hosts must be a positive number"),
    ] {
      let output = try run(TemporaryDirectory(), arguments)
      #expect(output.exitCode == 64 && output.standardError.contains(words), "\(output.standardError)")
      #expect(output.standardError.split(separator: "\n").count == 1)
    }
  }

  @Test func withoutRootItReportsTheReason() throws {
    let fixture = try ScriptFixture()
    try fixture.stub("id", "echo 1000")
    let output = try fixture.run("emulate-hosts")
    #expect(output.exitCode == 69)
    #expect(output.standardError.contains("need root") && output.standardError.split(separator: "\n").count == 1)
  }
}
