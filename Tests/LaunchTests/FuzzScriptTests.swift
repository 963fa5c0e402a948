import Foundation
import TestSupport
import Testing

/// `launch/fuzz` without its build, which takes minutes.
@Suite struct FuzzScriptTests {
  private func fixture() throws -> ScriptFixture {
    let fixture = try ScriptFixture()
    for target in ["hosts", "state"] { try fixture.makeDirectory("Tests/FuzzTargets/Corpus/\(target)") }
    try fixture.stub("swiftc", #"echo "{ \"runtimeResourcePath\": \"$FIXTURE/toolchain/lib/swift\" }""#)
    return fixture
  }

  @Test(arguments: [
    (["--target", "disk"], "the targets are hosts state."), (["--target", ".."], "is not a target"),
    (["--target"], "--target needs a value"), (["--targets"], "unknown argument"), (["0"], "positive number, not '0'"),
    (["many"], "positive number, not 'many'"), (["5", "6"], "second number of seconds"),
  ])
  func wrongArgumentsAreRefused(arguments: [String], words: String) throws {
    let fixture = try fixture()
    let output = try fixture.run("fuzz", arguments)
    #expect(output.exitCode == 64 && output.standardError.contains(words), "\(output.standardError)")
    #expect(fixture.calls.isEmpty)
  }

  @Test func aToolchainWithoutLibFuzzerIsRefused() throws {
    let fixture = try fixture()
    let output = try fixture.run("fuzz", ["5"])
    #expect(output.exitCode == 69 && output.standardError.contains("has no libFuzzer"), "\(output.standardError)")
  }

  /// libFuzzer's report, as it is at the end of a log.
  private static let report = """
    #9 DONE   cov: 12 ft: 34 corp: 1/2b exec/s: 5 rss: 6Mb
    stat::number_of_executed_units: 1000
    stat::average_exec_per_sec:     50
    """

  private func fuzz(_ body: String) throws -> ProcessRun.Output {
    let fixture = try fixture()
    try fixture.write("toolchain/lib/clang/21/lib/linux/libclang_rt.fuzzer-x86_64.a", "")
    try fixture.replaceProgram(of: ".build/fuzz/release/fuzz-input", "#!/bin/bash\n\(body)\n")
    return try fixture.run("fuzz", ["8"], environment: ["WRN_SKIP_BUILD": "1"])
  }

  @Test func everyTargetHasARowOfTheTable() throws {
    let output = try fuzz("[[ \"$*\" == *-max_total_time=4* ]] && echo '\(Self.report)' >&2")
    #expect(output.exitCode == 0, "\(output.standardError)")
    for target in ["hosts", "state"] {
      #expect(output.standardOutput.contains(try Regex("\(target) +1000 +50 +12 +0\n")), "\(output.standardOutput)")
    }
    #expect(output.standardOutput.contains(/total +2000 +0\n/))
  }

  @Test func aFailureIsReportedWithItsCommand() throws {
    let output = try fuzz(
      """
      [[ $1 == --target=state ]] || exit 0
      echo "artifact_prefix='x'; Test unit written to /inputs/state-crash-1" >&2
      exit 77
      """)
    #expect(output.exitCode == 1)
    #expect(output.standardOutput.contains("failure of state: /inputs/state-crash-1"), "\(output.standardOutput)")
    #expect(output.standardOutput.contains("fuzz-input --target=state /inputs/state-crash-1"))
  }

  @Test func anInterruptEndsTheScript() throws {
    #expect(try fuzz("exit 72").exitCode == 130)
  }
}
