import Foundation
import Reports
import TestSupport
import Testing
import Training

/// What the formats contain.
@Suite struct ReportTests {
  private static func two(_ folder: TemporaryDirectory) throws -> [String] {
    let first = RunFixture(folder: folder, name: "thin")
    try first.write()
    try first.writeDescription()
    try first.writePredictions()
    let second = RunFixture(
      folder: folder, name: "wide", settings: ["widen-factor": "2"], evaluations: [(400, 1, 0.625)])
    try second.write()
    return [first.path, second.path]
  }

  @Test func thePageHasEverythingOfItsRuns() throws {
    let folder = try TemporaryDirectory()
    let page = try RunFixture.report(Self.two(folder))
    for words in [
      "2 training runs", "WRN-22-1", "53.12 %", "62.50 %", "295,866", "3 ranks × 3–4 threads on 2 hosts", "node-1",
      "node-2",
      "Some CPU", "9.8.7", "mpirun -np 3 wrn-dist train --widen-factor 1", "Seed", "Data digest", "training set: ",
      "Confusion matrix",
      "Accuracy per class", "Most confident mistakes", "Settings that differ", "native (avx2)", "All settings",
      "weight-decay",
      "100 test images, 80 classified correctly", "data:image/png;base64,",
    ] {
      #expect(page.contains(words), "\(words)")
    }
    // Self-contained: nothing is loaded.
    for address in ["http://", "https://", "src=\"/", "@import", "url("] {
      #expect(
        !page.replacing("http://www.w3.org/2000/svg", with: "").replacing("url(#", with: "").contains(address),
        "\(address)")
    }
    #expect(page.contains("default-src 'none'"))
    #expect(page.components(separatedBy: "<img class=\"exact\"").count - 1 == 20)
    // No tag of the template is left.
    #expect(!page.contains("{{"))
  }

  @Test func theTableOfThePostIsBesideRunsOfItsRecipe() throws {
    let folder = try TemporaryDirectory()
    let run = RunFixture(
      folder: folder, name: "post", settings: ["steps": "5000", "data": "auto", "eval-every": "1000"], steps: 2000,
      evaluations: [(1, 2.25, 0.125), (1000, 1.25, 0.5), (2000, 1.125, 0.5625)])
    try run.write()
    let runs = try RunCollection.find([run.path]).map { ReportedRun($0.directory, name: $0.name) }
    let table = try #require(RunComparison(runs: runs).postTables.first)
    #expect(table.widenFactor == 1 && table.rows.map { $0[0] } == ["1", "1000", "2000"])
    func mean(_ range: ClosedRange<Int>) -> String {
      NumberFormat.loss(range.reduce(0.0) { $0 + Double(RunFixture.loss($1)) } / Double(range.count))
    }
    #expect(table.rows[0][1...6] == [mean(1...1), "2.2322", "2.2500", "2.2900", "12.50 %", "17.58 %"])
    #expect(table.rows[1][1...6] == [mean(2...1000), "1.5170", "1.2500", "1.2439", "50.00 %", "55.16 %"])
    #expect(table.rows[2][1...6] == [mean(1001...2000), "1.1458", "1.1250", "1.0736", "56.25 %", "60.62 %"])
    let seconds = (2...1000).reduce(0.0) { $0 + 64 / Double(RunFixture.rate($1)) }
    #expect(table.rows[1][7] == String(format: "%.1f", seconds) && table.rows[1][8] == "450.7")
    #expect(try RunFixture.report([run.path]).contains("Beside the original post"))
    for other in [
      ["learning-rate": "0.1"], ["depth": "10"], ["widen-factor": "5"], ["recipe": "paper"],
      ["crop-padding": "4"], ["weight-decay": "0.5"], ["data": "synthetic"],
    ] {
      var changed = run
      changed.settings.merge(other) { $1 }
      try changed.write()
      #expect(try !RunFixture.report([run.path]).contains("Beside the original post"), "\(other)")
    }
  }

  @Test func csvHasOneRowPerEvaluation() throws {
    let folder = try TemporaryDirectory()
    let rows = try RunFixture.report(Self.two(folder), .csv).components(separatedBy: "\r\n")
    #expect(
      rows[0]
        == "run,network,step,epochs,training_seconds,training_loss,images,weights,evaluation_loss,accuracy,widen-factor"
    )
    #expect(rows.count == 6 && rows[5].isEmpty)
    let fields = rows[2].split(separator: ",", omittingEmptySubsequences: false).map(String.init)
    #expect(
      fields[0..<4] == ["thin", "WRN-22-1", "200", "1.28"] && fields[6...] == ["test", "raw", "1.5", "0.4375", "1"])
    let seconds = (1...200).reduce(0.0) { $0 + 64 / Double(RunFixture.rate($1)) }
    let loss = (2...200).reduce(0.0) { $0 + Double(RunFixture.loss($1)) } / 199
    #expect(abs((Double(fields[4]) ?? 0) - seconds) < 1e-4 * seconds && abs((Double(fields[5]) ?? 0) - loss) < 1e-6)
    #expect(rows[4].hasPrefix("wide,WRN-22-2,400,") && rows[4].hasSuffix(",1.0,0.625,2"))
  }

  @Test func markdownHasTheTables() throws {
    let folder = try TemporaryDirectory()
    let text = try RunFixture.report(Self.two(folder), .md)
    #expect(text.contains("| thin | WRN-22-1 | 295,866 | 400 |") && text.contains("| wide | 2 |"))
    #expect(text.contains("## Settings that differ") && text.contains("- wide: There is no checkpoint yet."))
  }

  @Test func picturesOfTheCurves() throws {
    let folder = try TemporaryDirectory()
    let runs = try Self.two(folder)
    let svg = try RunFixture.report(runs, .svg)
    #expect(
      svg.hasPrefix("<svg ")
        && ["Training loss", "Evaluation loss", "Accuracy", "Speed", "thin", "wide"].allSatisfy(svg.contains))
    if (try? BuiltProducts.installed("rsvg-convert")) == nil {
      print("png is skipped, because rsvg-convert is not installed; run launch/setup --test")
    } else {
      let png = try Report(runs, version: "1").render(.png)
      #expect(png.starts(with: [0x89, 0x50, 0x4E, 0x47]) && png.count > 10_000)
    }
    let missing = #expect(throws: ReportError.self) { try SVGRasterizer.png(svg, path: folder.path) }
    #expect(missing?.exitCode == 69 && missing?.description.contains("apt install librsvg2-bin") == true)
  }

  @Test func confusionAndMistakes() throws {
    let folder = try TemporaryDirectory()
    let run = RunFixture(folder: folder, name: "r")
    try run.write()
    try run.writePredictions(count: 50)
    let predictions = try #require(Predictions.read(run.path))
    #expect(predictions.images == Array(0..<50))
    for i in 0..<50 {
      #expect((predictions.predictions[i] == predictions.labels[i]) == (i % 5 != 0))
      // One logit is 1 + i / 10, nine are 0.
      let expected = 1 / (1 + 9 * exp(-(1 + Double(i) / 10)))
      #expect(abs(predictions.confidences[i] - expected) <= 0.51e-4)
    }
    #expect(RunDetails.mistakes(predictions).map(\.image) == [45, 40, 35, 30, 25, 20, 15, 10, 5, 0])
    let matrix = predictions.confusion
    for label in 0..<10 {
      for prediction in 0..<10 {
        let count = (0..<50).count { predictions.labels[$0] == label && predictions.predictions[$0] == prediction }
        #expect(Array(matrix.row(label))[prediction] == count)
      }
    }
  }

  @Test func durations() {
    #expect(RunComparison.duration(12.34) == "12.3 s" && RunComparison.duration(245) == "4 min 05 s")
    #expect(
      RunComparison.duration(3720) == "1 h 02 min" && RunComparison.duration(nil) == "–"
        && RunComparison.duration(.nan) == "–")
  }

  @Test func namesAreTheShortestThatDiffer() {
    #expect(RunCollection.names(["/a/x", "/b/x", "/b/y"]) == ["a/x", "b/x", "y"])
    #expect(RunCollection.names(["/a/x"]) == ["x"] && RunCollection.names(["/"]) == ["/"])
  }

  @Test func aDirectoryOfRunsMeansThemAll() throws {
    let folder = try TemporaryDirectory()
    for name in ["k10", "k2"] { try RunFixture(folder: folder, name: name, steps: 3).write() }
    try folder.write("other/file", "")
    #expect(try RunCollection.find([folder.path]).map(\.name) == ["k2", "k10"])
    #expect(try RunCollection.find([folder.path, "\(folder.path)/k2/"]).count == 2)
  }
}

/// Text as the tests expect it, written differently from the program.
enum NumberFormat {
  static func loss(_ value: Double) -> String { String(format: "%.4f", value) }
}
