import TestSupport
import Testing

@Suite struct QuickstartTests {
  /// A stub of mpirun that writes the files of wrn-dist.
  private static let training = #"""
    while [ $# -gt 0 ]; do [ "$1" != --output-dir ] || output=$2; shift; done
    mkdir -p "$output"
    {
      echo '{"kind":"eval","step":100,"loss":2.0,"accuracy":0.25,"examples":1280}'
      echo '{"kind":"train","step":300,"loss":1.5}'
      echo '{"kind":"eval","step":300,"loss":1.5,"accuracy":0.4375,"examples":1280}'
    } >"$output/metrics.jsonl"
    """#

  @Test func itPreparesTrainsAndPrintsTheResult() throws {
    let fixture = try ScriptFixture()
    try fixture.setCores(2)
    try fixture.stub("mpirun", Self.training)
    try fixture.replaceProgram("#!/bin/bash\necho \"wrn-dist $*\" >>\"$FIXTURE/log\"\n")
    let output = try fixture.run("quickstart", ["--steps", "50"])
    #expect(output.exitCode == 0, "\(output.standardError)")
    let build = try #require(fixture.calls.firstIndex { $0.hasPrefix("swift build") })
    let train = try #require(fixture.calls.firstIndex { $0.hasPrefix("mpirun") })
    #expect(build < train)
    let command = fixture.calls[train]
    #expect(
      command.hasPrefix(
        "mpirun -np 4 --hostfile \(fixture.path)/hostfiles/localhost --oversubscribe "))
    #expect(command.contains("train --data auto --steps 300 --eval-every 100 --output-dir "))
    #expect(command.hasSuffix("--steps 50"))
    #expect(output.lines.contains { $0.hasPrefix("$ mpirun -np 4 ") })
    #expect(output.standardOutput.contains("Accuracy after the last step: 43.8 %"))
    #expect(output.standardOutput.contains("The output is in \(fixture.path)/runs/quickstart-"))
    #expect(output.standardOutput.contains("Next steps"))
    #expect(output.standardOutput.contains("      launch/fetch-cifar10 && launch/train -np 4 -- --steps 5000 "))
    #expect(output.lines.last == "      launch/test")
    let report = try #require(fixture.calls.last { $0.hasPrefix("wrn-dist report ") }).split(separator: " ")
    #expect(
      report[2].hasPrefix("\(fixture.path)/runs/quickstart-")
        && report[3...] == ["--output", "\(report[2])/report.html"])
    #expect(output.standardOutput.contains("Open in a browser: \(report[4])"))
  }

  /// As for the run itself, a path is relative to the repository.
  @Test(arguments: [["--output-dir", "mine"], ["--output-dir=mine"]])
  func theReportIsInTheGivenDirectory(flags: [String]) throws {
    let fixture = try ScriptFixture()
    let equalsSign = #"[[ $1 != --output-dir=* ]] || output=${1#*=}; shift; done"#
    try fixture.stub("mpirun", Self.training.replacing("shift; done", with: equalsSign))
    try fixture.replaceProgram("#!/bin/bash\necho \"wrn-dist $*\" >>\"$FIXTURE/log\"\n")
    let output = try fixture.run("quickstart", flags)
    #expect(output.exitCode == 0, "\(output.standardError)")
    let directory = "\(fixture.path)/mine"
    #expect(fixture.calls.last == "wrn-dist report \(directory) --output \(directory)/report.html")
    #expect(output.standardOutput.contains("Accuracy after the last step: 43.8 %"))
    #expect(output.standardOutput.contains("Open in a browser: \(directory)/report.html"))
  }

  /// The run is complete without its report.
  @Test func aReportThatFailsIsSaid() throws {
    let fixture = try ScriptFixture()
    try fixture.stub("mpirun", Self.training)
    try fixture.replaceProgram("#!/bin/bash\n[ \"$1\" != report ] || exit 70\n")
    let output = try fixture.run("quickstart")
    #expect(output.exitCode == 0 && output.standardOutput.contains("The report could not be made"))
    #expect(!output.standardOutput.contains("Open in a browser") && output.standardOutput.contains("Next steps"))
  }

  @Test func aFailingRunPrintsNoResult() throws {
    let fixture = try ScriptFixture()
    try fixture.stub("mpirun", "exit 65")
    let output = try fixture.run("quickstart")
    #expect(output.exitCode == 65)
    #expect(!output.standardOutput.contains("Next steps"))
  }
}
