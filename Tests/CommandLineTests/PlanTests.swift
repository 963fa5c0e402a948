import Foundation
import TestSupport
import Testing

/// `wrn-dist plan`.
@Suite struct PlanTests {
  private static let measured = """
    noise
    {"network":"WRN-22-4","widen_factor":4,"batch_size":64,"microbatches":8,"ranks":1,"threads":2,"engine":"native",\
    "isa":"avx2","images_per_second":100.0,"step_milliseconds":640.0,"n":10,"cpu":"some CPU"}

    """

  private func plan(_ folder: TemporaryDirectory, _ flags: [String]) throws -> ProcessRun.Output {
    try folder.write("bench.json", Self.measured)
    return try Job(folder, ["plan", "--from", "bench.json", "--cores-per-host", "2"] + flags).run()
  }

  @Test func tablesAndAChart() throws {
    let folder = try TemporaryDirectory()
    let output = try plan(
      folder, ["--hosts", "1…64", "--widen-factor", "1,4", "--svg", "plan.svg", "--batch-size", "32"])
    #expect(output.exitCode == 0, "\(output.standardError)")
    #expect(output.lines.count { $0.contains("global batch fixed at 32 images:") } == 2)
    #expect(output.lines.count { $0.contains("batch per rank fixed at 32 images:") } == 2)
    // The measured model on one host: 32 images on 2 cores at 20 ms per core and image.
    let rows = output.standardOutput.components(separatedBy: "WRN-22-4: ").last?.split(separator: "\n") ?? []
    let one = rows.first { $0.split(separator: " ").first == "1" }?.split(separator: " ").map(String.init) ?? []
    #expect(one.prefix(8) == ["1", "1", "32", "320.00", "320.00", "0.00", "0.00", "100"], "\(one)")
    #expect(output.standardOutput.contains("more ranks than images"))
    #expect(output.standardOutput.contains("scaled by its multiply-adds from WRN-22-4"))
    #expect(folder.read("plan.svg").hasPrefix("<svg ") && folder.read("plan.svg").contains("k = 4"))
  }

  @Test func withoutAFileItMeasuresThisMachine() throws {
    let flags = ["plan", "--depth", "10", "--widen-factor", "1", "--hosts", "1,2"]
    let output = try Job(TemporaryDirectory(), flags).run()
    #expect(output.exitCode == 0, "\(output.standardError)")
    #expect(output.standardOutput.contains("(measured WRN-10-1, 1 rank × "))
  }

  @Test(arguments: [
    (["--hosts", "0"], "--hosts 0"), (["--bandwidth", "10"], "--bandwidth 10 is not a data rate"),
    (["--latency", "20"], "--latency 20 is not a time"), (["--widen-factor", "1,x"], "--widen-factor 1,x"),
    (["--ranks-per-host", "3"], "--ranks-per-host 3 is more than --cores-per-host 2"),
    (["--batch-size", "0"], "--batch-size 0"),
    (["--from", "nowhere"], "--from nowhere cannot be read"), (["--depth", "23"], "--depth 23"),
  ])
  func invalidFlags(flags: [String], words: String) throws {
    let output = try plan(TemporaryDirectory(), flags)
    #expect(output.exitCode == 64, "\(output.standardError)")
    #expect(output.errorLines.count == 1 && output.standardError.contains(words), "\(output.standardError)")
  }

  @Test func aFileWithoutMeasurements() throws {
    let folder = try TemporaryDirectory()
    let impossible = ["0", "9223372036854775807"].map {
      Self.measured.replacingOccurrences(of: #""threads":2"#, with: #""threads":\#($0)"#)
    }
    for text in ["{}\n"] + impossible {
      try folder.write("empty.json", text)
      let output = try Job(folder, ["plan", "--from", "empty.json"]).run()
      #expect(output.exitCode == 64 && output.standardError.contains("has no line of `wrn-dist benchmark step --json`"))
    }
  }
}
