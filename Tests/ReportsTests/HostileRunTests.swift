import Foundation
import Reports
import Support
import TestSupport
import Testing
import Training

/// Runs that are going, half-written, damaged or of other versions; and names that try to escape.
@Suite struct HostileRunTests {
  private func run(_ folder: TemporaryDirectory, _ name: String = "run") throws -> RunFixture {
    let run = RunFixture(folder: folder, name: name)
    try run.write()
    return run
  }

  @Test func aRunThatIsStillGoing() throws {
    let folder = try TemporaryDirectory()
    var run = try run(folder)
    run.steps = 150
    try run.write()
    let text = try String(contentsOfFile: "\(run.path)/metrics.jsonl", encoding: .utf8)
    try folder.write("run/metrics.jsonl", text + text.prefix(50))
    do {
      let lease = try RunLease(run.path)
      let page = try withExtendedLifetime(lease) { try RunFixture.report([run.path]) }
      #expect(page.contains("The run is still going: step 150 of 400."))
    }
    #expect(try RunFixture.report([run.path]).contains("The run has stopped after step 150 of 400."))
  }

  @Test(arguments: [
    ("config.yaml", "a: [", "config.yaml is damaged, so the settings are unknown."),
    ("config.yaml", "\u{0}\u{1}", "config.yaml is damaged, so the settings are unknown."),
    ("metrics.jsonl", "", "metrics.jsonl has no steps yet."),
    ("metrics.jsonl", "noise\n\nmore\n", "2 damaged line(s) of metrics.jsonl were skipped."),
    ("metrics.jsonl", #"{"kind":"train","step":400,"loss":1.0}"# + "\n", "metrics.jsonl lacks 399 of 400 steps."),
    ("run.json", "{", "run.json is damaged or of a newer program"),
    ("run.json", #"{"format_version":99}"#, "run.json is damaged or of a newer program"),
    ("predictions.json", "[]", "predictions.json is damaged or of a newer program"),
    ("checkpoints/step-00000400/state.json", "{}", "No checkpoint can be read: "),
    ("checkpoints/latest", "../../etc/passwd", "No checkpoint can be read: "),
  ])
  func damagedFilesAreNamed(file: String, contents: String, words: String) throws {
    let folder = try TemporaryDirectory()
    let run = try run(folder)
    try folder.write("run/\(file)", contents)
    for format in [ReportFormat.html, .md, .csv, .svg] {
      let text = try RunFixture.report([run.path], format)
      if format == .html { #expect(text.contains(words), "\(words)") }
    }
  }

  @Test(arguments: [
    #""labels":[99]"#, #""labels":[-1]"#, #""predictions":[10]"#, #""images":[-5]"#, #""confidences":[]"#,
    #""class_count":0"#, #""class_count":5000000000"#,
    #""format_version":2"#, #""images":[]"#,
  ])
  func predictionsThatContradictThemselves(change: String) throws {
    let folder = try TemporaryDirectory()
    let run = try run(folder)
    let key = change.prefix { $0 != ":" }
    var fields = [
      #""format_version""#: #""format_version":1"#, #""step""#: #""step":400"#, #""weights""#: #""weights":"raw""#,
      #""statistics""#: #""statistics":"batch""#, #""class_count""#: #""class_count":10"#,
      #""images""#: #""images":[3]"#,
      #""labels""#: #""labels":[1]"#, #""predictions""#: #""predictions":[1]"#,
      #""confidences""#: #""confidences":[0.5]"#,
    ]
    try folder.write("run/predictions.json", "{\(fields.values.joined(separator: ","))}")
    #expect(Predictions.read(run.path) != nil)
    fields[String(key)] = change
    try folder.write("run/predictions.json", "{\(fields.values.joined(separator: ","))}")
    #expect(Predictions.read(run.path) == nil)
    #expect(try RunFixture.report([run.path]).contains("predictions.json is damaged"))
  }

  /// An image beyond the test set has no picture, and does not end the report.
  @Test func predictionsOfAnotherDataSet() throws {
    let folder = try TemporaryDirectory()
    let run = try run(folder)
    try run.writeDescription()
    try run.writePredictions()
    let text = folder.read("run/predictions.json").replacing(#""images":[0,"#, with: #""images":[1999999999,"#)
    try folder.write("run/predictions.json", text)
    let page = try RunFixture.report([run.path])
    #expect(page.components(separatedBy: "<img class=\"exact\"").count - 1 == 19)
    // Another data set: no pictures, with a sentence.
    let other = folder.read("run/run.json").replacing("test set: ", with: "test set: other ")
    try folder.write("run/run.json", other)
    let without = try RunFixture.report([run.path])
    #expect(without.contains("the data set here is not the one that the run was trained on"))
    #expect(!without.contains("<img class=\"exact\""))
  }

  @Test(arguments: [
    ["batch-size": "0"], ["batch-size": "-64"], ["batch-size": "9223372036854775807"], ["batch-size": "x"],
    ["steps": "-1"],
    ["steps": "9223372036854775807"], ["validation": "9223372036854775807"], ["dataset": "other"],
    ["validation": "-9223372036854775807"], ["batch-size": "1e300"],
    ["widen-factor": "-1"],
    ["data": "/nowhere"], ["seed": "<b>"],
  ])
  func impossibleSettings(settings: [String: String]) throws {
    let folder = try TemporaryDirectory()
    let run = RunFixture(folder: folder, name: "run", settings: settings)
    try run.write()
    try run.writePredictions()
    for format in [ReportFormat.html, .md, .csv, .svg] { #expect(try !RunFixture.report([run.path], format).isEmpty) }
  }

  @Test func lossesThatAreNotFinite() throws {
    let folder = try TemporaryDirectory()
    let run = try run(folder)
    let lines = run.metrics.map { $0.replacing(/"loss":[0-9.]+/, with: #""loss":null"#) + "\n" }
    try folder.write("run/metrics.jsonl", lines.joined())
    for format in [ReportFormat.html, .svg] {
      let text = try RunFixture.report([run.path], format)
      #expect(!text.contains("nan") && !text.contains("NaN\"") && !text.contains("inf\""))
    }
  }

  /// Magnitudes at which a difference or a number in single precision overflows.
  @Test(arguments: ["1.7e308", "1e39", "-1e308"])
  func lossesOfAnyMagnitude(loss: String) throws {
    let folder = try TemporaryDirectory()
    let run = try run(folder)
    let lines = run.metrics.map { line in
      (line.contains("eval") ? line.replacing(/"loss":[0-9.]+/, with: "\"loss\":\(loss)") : line) + "\n"
    }
    try folder.write(
      "run/metrics.jsonl", lines.joined() + #"{"kind":"eval","step":400,"loss":1e308,"accuracy":0.5}"# + "\n")
    let page = try RunFixture.report([run.path])
    let start = try #require(page.range(of: #"<script type="application/json" id="data">"#))
    let end = try #require(page[start.upperBound...].range(of: "</script>"))
    #expect(throws: Never.self) {
      try JSONSerialization.jsonObject(with: Data(page[start.upperBound..<end.lowerBound].utf8))
    }
  }

  @Test func impossibleNumbersOfRanks() throws {
    let folder = try TemporaryDirectory()
    let run = try run(folder)
    try run.writeDescription()
    let text = folder.read("run/run.json").replacing(/"ranks" : [0-9]+/, with: "\"ranks\" : 9223372036854775807")
    try folder.write("run/run.json", text)
    #expect(try RunFixture.report([run.path]).contains("run.json is damaged or of a newer program"))
  }

  static let names = [
    "a b", "it's \"quoted\"", "<script>alert(1)</script>", "</script><script>alert(2)</script>", "&lt;", "ü 漢字", "=1+1",
    "a|b`c*d_e",
    "{{data}}", "--", "a,b;c", "'; rm -rf ~ #", "]]>", "<!--",
    // A prepended or combining mark makes one grapheme cluster with the character that has a meaning.
    "\u{600}<script>alert(3)</script>", "\u{600}'; touch x #", "a\u{600},b\u{600}\"c", "'\u{301}; touch x #",
  ]

  @Test(arguments: names)
  func namesAreEscapedInEveryFormat(name: String) throws {
    let folder = try TemporaryDirectory()
    // A slash cannot be in a name, so it comes with the directory.
    let run = RunFixture(folder: folder, name: name.replacing("/", with: "∕"), settings: ["data": name])
    try folder.write("\(run.name)/metrics.jsonl", run.metrics.map { $0 + "\n" }.joined())
    try folder.write(
      "\(run.name)/config.yaml", "data: '\(name.replacing("'", with: "''"))'\nbatch-size: 64\nsteps: 400\n")
    try run.writeDescription(command: ["wrn-dist", "--data", name, "../../x"])
    try run.writePredictions()
    let other = try self.run(folder, "other")
    let page = try RunFixture.report([run.path, other.path])
    // The only script elements are the data and the program.
    #expect(
      page.components(separatedBy: "<script").count - 1 == 2 && page.components(separatedBy: "</script").count - 1 == 2)
    let start = try #require(page.range(of: #"<script type="application/json" id="data">"#))
    let end = try #require(page[start.upperBound...].range(of: "</script>"))
    let data =
      try JSONSerialization.jsonObject(with: Data(page[start.upperBound..<end.lowerBound].utf8)) as? [String: Any]
    let runs = try #require(data?["runs"] as? [[String: Any]])
    #expect(runs.map { $0["n"] as? String } == [run.name, "other"])
    let entities: [Unicode.Scalar: String] = ["&": "&amp;", "<": "&lt;", ">": "&gt;", "\"": "&quot;", "'": "&#39;"]
    let escaped = name.unicodeScalars.map { entities[$0] ?? String($0) }.joined()
    #expect(page.utf8.split(separator: escaped.utf8, maxSplits: 1).count == 2)
    let svg = try RunFixture.report([run.path, other.path], .svg)
    #expect(!svg.contains("<script") && !svg.contains("<!--"))
    let csv = try RunFixture.report([run.path, other.path], .csv)
    #expect(csv.contains(QuotedText.csv(run.name) + ",WRN-22-1,1,"))
    let markdown = try RunFixture.report([run.path, other.path], .md)
    #expect(!markdown.contains("<script") && markdown.contains("| \(TextReports.markdownText(run.name)) |"))
  }

  @Test func fieldsOfCSV() {
    #expect(QuotedText.csv("a\"b") == "\"a\"\"b\"" && QuotedText.csv("a,b") == "\"a,b\"")
    #expect(
      QuotedText.csv("=1+1") == "'=1+1" && QuotedText.csv("-1.5") == "-1.5"
        && QuotedText.csv("a\nb") == "\"a\nb\"")
    #expect(QuotedText.csv("plain") == "plain" && QuotedText.csv(" x") == "\" x\"")
  }

  /// The shell reads back what was given.
  @Test(arguments: names + ["", "plain-1.5", "$HOME", "a\nb", "*"])
  func commandsSurviveTheShell(argument: String) throws {
    let output = try ProcessRun("/bin/sh", ["-c", "printf %s " + QuotedText.shell(argument)]).run()
    #expect(output.standardOutput == argument)
  }

  @Test func pathsThatAreNoRuns() throws {
    let folder = try TemporaryDirectory()
    try folder.write("file", "")
    for (path, words) in [
      ("\(folder.path)/nowhere", "there is no run"), ("\(folder.path)/file", "there is no run"),
      (folder.path, "holds no run"),
      ("", "there is no run ''"),
    ] {
      let error = #expect(throws: ReportError.self) { try Report([path], version: "1") }
      #expect(error?.exitCode == 65 && error?.description.contains(words) == true, "\(String(describing: error))")
    }
  }
}
