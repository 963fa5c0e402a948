import TestSupport
import Testing

/// `launch/test --sanitize`, with a stub instead of Swift.
@Suite struct SanitizeTests {
  @Test(arguments: [
    (["--sanitize"], "--sanitize needs a value"),
    (["--sanitize", "memory"], "--sanitize must be address or thread, not 'memory'."),
    (["--sanitize="], "--sanitize must be address or thread, not ''."),
    (["--filter", "ModelsTests", "--sanitize", "thread"], "--sanitize must be the first argument, and given once."),
    (["--sanitize", "thread", "--sanitize=address"], "--sanitize must be the first argument, and given once."),
  ])
  func wrongUseIsRefusedBeforeAnythingIsBuilt(arguments: [String], words: String) throws {
    let fixture = try ScriptFixture()
    let output = try fixture.run("test", arguments)
    #expect(output.exitCode == 64)
    #expect(output.standardError.contains(words), "\(output.standardError)")
    #expect(fixture.calls.isEmpty)
  }

  /// The ordinary build stays as it is, and options of `swift test` are passed on.
  @Test(arguments: ["address", "thread"])
  func everySanitizerHasItsOwnBuild(name: String) throws {
    let fixture = try ScriptFixture()
    try fixture.stub(
      "swift", #"[ "$1" != --version ] || echo "Swift version 6.3.1"; echo "$WRN_SANITIZE" >>"$FIXTURE/log""#)
    let output = try fixture.run("test", ["--sanitize", name, "--filter", "ModelsTests"])
    #expect(output.exitCode == 0, "\(output.standardError)")
    let builds = fixture.calls.filter { $0.hasPrefix("swift build") || $0.hasPrefix("swift test") }
    #expect(builds.count == 2)
    #expect(builds.allSatisfy { $0.contains("-c release") && $0.contains("--sanitize \(name)") })
    #expect(builds.allSatisfy { $0.contains("--scratch-path .build/\(name)") })
    #expect(builds.last?.hasSuffix("--filter ModelsTests") == true)
    #expect(fixture.calls.filter { $0 == name }.count >= 2, "the manifest reads WRN_SANITIZE")
    #expect(output.standardOutput.contains("Leaving out LaunchTests: "))
  }

  /// Here the tests pass, but a process that they have started has written a report.
  @Test(arguments: ["ASAN_OPTIONS", "TSAN_OPTIONS"])
  func aReportOfAnyProcessFailsTheRun(options: String) throws {
    let fixture = try ScriptFixture()
    try fixture.stub(
      "swift",
      #"""
      [ "$1" != --version ] || echo "Swift version 6.3.1"
      [ "$1" = test ] || exit 0
      path=${\#(options)#*log_path=}
      echo 'SUMMARY: a data race' >"${path%%:*}.123"
      """#)
    let output = try fixture.run("test", ["--sanitize", "thread"])
    #expect(output.exitCode == 1)
    #expect(output.standardOutput.contains("SUMMARY: a data race"))
    #expect(output.standardError.contains("has reported errors of 1 process(es)"), "\(output.standardError)")
    // The reports of this run are not those of the next one.
    try fixture.stub("swift", #"[ "$1" != --version ] || echo "Swift version 6.3.1""#)
    #expect(try fixture.run("test", ["--sanitize", "thread"]).exitCode == 0)
  }
}
