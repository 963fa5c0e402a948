import Foundation
import Images
import Models
import TestSupport
import Testing

/// `wrn-dist predict`: the same predictions as `evaluate`, alone or in company, and every kind of bad file.
@Suite struct PredictTests {
  private struct Line: Decodable, Equatable {
    struct Prediction: Decodable, Equatable {
      let `class`: String
      let label: Int
      let probability: Double
    }
    let file: String
    let predictions: [Prediction]?
    let error: String?
  }

  private static let shapes = [
    "disc", "ring", "square", "triangle", "cross", "stripes", "checkerboard", "dots", "target", "half-moon",
  ]

  private let folder: TemporaryDirectory
  /// The first test images of the synthetic set, as CIFAR-10 records.
  private let records: [[UInt8]]

  init() throws {
    folder = try TemporaryDirectory()
    try Job.training(folder, output: "run", ["--steps", "3"]).succeed()
    try Job(folder, ["data", "synthesize", "data"]).succeed()
    let bytes = try [UInt8](Data(contentsOf: folder.url.appendingPathComponent("data/test_batch.bin")))
    records = (0..<70).map { Array(bytes[3073 * $0..<3073 * ($0 + 1)]) }
    try FileManager.default.createDirectory(atPath: path("images"), withIntermediateDirectories: true)
    for (i, record) in records.enumerated() {
      let pixels = (0..<1024).flatMap { p in (0..<3).map { record[1 + 1024 * $0 + p] } }
      try write(name(i), PNGEncoder.encode(RGBImage(height: 32, width: 32, pixels: pixels)))
    }
  }

  private func name(_ i: Int) -> String { "images/\(String(i + 1000)).png" }
  private func path(_ name: String) -> String { folder.url.appendingPathComponent(name).path }
  private func write(_ name: String, _ bytes: [UInt8]) throws {
    try Data(bytes).write(to: URL(fileURLWithPath: path(name)))
  }

  private func predict(_ arguments: [String], checkpoint: String = "run") -> Job {
    Job(folder, ["predict", "--checkpoint", checkpoint] + arguments)
  }

  private func lines(_ output: ProcessRun.Output) throws -> [Line] {
    try output.lines.map { try JSONDecoder().decode(Line.self, from: Data($0.utf8)) }
  }

  /// The logits of `evaluate` for the first test images.
  private func logits(_ flags: [String] = []) throws -> [[Float]] {
    try Job(
      folder,
      [
        "evaluate", "--checkpoint", "run", "--data", "data", "--eval-batches", "all", "--eval-statistics", "running",
        "--logits-output", "logits.safetensors",
      ] + flags
    ).succeed()
    let bytes = try [UInt8](Data(contentsOf: folder.url.appendingPathComponent("logits.safetensors")))
    let start = 8 + bytes[..<8].enumerated().reduce(0) { $0 + Int($1.element) << (8 * $1.offset) }
    let values = stride(from: start, to: bytes.count, by: 4).map { i in
      Float(bitPattern: (0..<4).reduce(UInt32(0)) { $0 | UInt32(bytes[i + $1]) << UInt32(8 * $1) })
    }
    return records.indices.map { Array(values[10 * $0..<10 * ($0 + 1)]) }
  }

  @Test(arguments: ["native", "blas"])
  func predictionsAreThoseOfEvaluate(engine: String) throws {
    let flags = ["--engine", engine]
    let expected = try logits(flags)
    let output = try predict(flags + ["--json", "--top", "10", "images"]).succeed()
    let predictions = try lines(output)
    #expect(predictions.map(\.file) == records.indices.map(name) && output.standardError.isEmpty)
    for (logits, line) in zip(expected, predictions) {
      let exponentials = logits.map { exp(Double($0) - Double(logits.max() ?? 0)) }
      let classes = try #require(line.predictions)
      #expect(classes.map(\.label) == logits.indices.sorted { logits[$0] > logits[$1] })
      // OpenBLAS may round by the shape of a product, and so by the images of a microbatch.
      let limit = engine == "native" && !InstructionSet.allCases.filter(\.isSupported).isEmpty ? 1e-13 : 1e-5
      for prediction in classes {
        let probability = exponentials[prediction.label] / exponentials.reduce(0, +)
        #expect(abs(prediction.probability - probability) <= limit)
        #expect(prediction.class == Self.shapes[prediction.label])
      }
    }
  }

  @Test(arguments: ["native", "blas"])
  func aResultDoesNotDependOnOtherImages(engine: String) throws {
    func run(_ files: [String], _ more: [String] = []) throws -> [String: String] {
      let output = try predict(["--json", "--top", "10", "--engine", engine] + more + files).succeed()
      return Dictionary(uniqueKeysWithValues: zip(try lines(output).map(\.file), output.lines))
    }
    let all = try run(["images"])
    #expect(all.count == 70)
    #expect(try run(records.indices.reversed().map(name), ["--threads", "1"]) == all)
    for i in [0, 7, 69] { #expect(try run([name(i)])[name(i)] == all[name(i)]) }
    #expect(try run([name(5), name(64), name(3)], ["--threads", "2"]).allSatisfy { all[$0.key] == $0.value })
  }

  @Test func formatsAgree() throws {
    // Quotes, what a spreadsheet would take for a formula, and a comma that is one Character with its accent.
    let files = [name(1), "a, \"b\".png", "=c.png", "d,\u{301}.png"]
    let fieldsOfFiles = [name(1), "\"a, \"\"b\"\".png\"", "'=c.png", "\"d,\u{301}.png\""]
    for file in files.dropFirst() { try FileManager.default.copyItem(atPath: path(name(0)), toPath: path(file)) }
    let json = try lines(predict(["--json"] + files).succeed())
    let csv = try predict(["--csv", "--top", "2"] + files).succeed().lines
    let text = try predict(["--top", "1"] + files).succeed().lines
    #expect(csv[0] == "file,class_1,probability_1,class_2,probability_2" && csv.count == 5)
    #expect(text[0].hasPrefix("WRN-10-1, raw weights, run/checkpoints/step-00000003, after step 3") && text.count == 5)
    for (i, line) in json.enumerated() {
      let classes = try #require(line.predictions)
      #expect(classes.count == 5 && line.file == files[i])
      let fields = classes.prefix(2).map { "\($0.class),\(String(format: "%.6f", $0.probability))" }
      #expect(csv[i + 1] == "\(fieldsOfFiles[i]),\(fields.joined(separator: ","))")
      #expect(
        text[i + 1] == "\(files[i]): \(classes[0].class) \(String(format: "%.2f", 100 * classes[0].probability)) %")
    }
  }

  @Test func badFilesAreReportedAndTheOthersClassified() throws {
    let good = try [UInt8](Data(contentsOf: URL(fileURLWithPath: path(name(0)))))
    try write("images/1000-cut.png", Array(good[..<(good.count / 2)]))
    try write("images/1000-text.jpg", Array("no image".utf8))
    try write("images/1000-\u{1B}[2J\n.png", [])
    let files = ["images", "gone.png", "data", "run/config.yaml"]
    let output = try predict(["--json"] + files).run()
    #expect(output.exitCode == 65)
    let results = try lines(output)
    #expect(results.count { $0.predictions != nil } == 70)
    let errors = output.standardError.split(separator: "\n")
    #expect(errors.count == 7 && errors.allSatisfy { $0.hasPrefix("wrn-dist: error: ") && $0.hasSuffix(".") })
    for words in [
      "images/1000-cut.png is damaged or unsupported (", "images/1000-text.jpg is neither a PNG nor a JPEG file",
      "gone.png cannot be read (No such file or directory)", "data has no .png, .jpg or .jpeg files",
      "run/config.yaml is neither", "images/1000-\u{FFFD}[2J\u{FFFD}.png is empty",
    ] { #expect(output.standardError.contains(words), "\(words)") }
    #expect(
      errors.last?.hasSuffix("6 of 76 images could not be classified; the sentences above give the reasons.") == true)
    #expect(results.first { $0.file == "gone.png" }?.error?.contains("cannot be read") == true)
    #expect(!output.standardError.contains("\u{1B}"))
    let undisturbed = try lines(predict(["--json", name(0), name(69)]).succeed())
    for line in undisturbed { #expect(results.contains(line)) }
  }

  @Test func standardInputAndGrid() throws {
    let shell = try ProcessRun(
      BuiltProducts.installed("sh"),
      [
        "-c", "\"$0\" predict --checkpoint run --json --output grid.png - images <\(name(3))",
        BuiltProducts.executable("wrn-dist"),
      ], workingFolder: folder.path
    ).run()
    #expect(shell.exitCode == 0, "\(shell.standardError)")
    let results = try lines(shell)
    #expect(
      results.count == 71 && results[0].file == "standard input" && results[0].predictions == results[4].predictions)
    let bytes = try [UInt8](Data(contentsOf: URL(fileURLWithPath: path("grid.png"))))
    let grid = try bytes.withUnsafeBytes { try ImageDecoder.decode($0, name: "grid.png") }.image
    // 71 images in 9 columns and 8 rows, with three lines of caption.
    #expect(grid.width == 9 * 136 + 8 && grid.height == 8 * (136 + 36) + 8)
    // An image of 32 pixels is enlarged four times: its first pixel is the first 4×4 of the cell.
    let red = records[3][1]
    let green = records[3][1025]
    let blue = records[3][2049]
    for (y, x) in [(8, 8), (11, 11)] {
      #expect(Array(grid.pixels[3 * (y * grid.width + x)..<3 * (y * grid.width + x) + 3]) == [red, green, blue])
    }
  }

  @Test func classNamesOfAFile() throws {
    try folder.write("names.txt", (0..<10).map { "class <\($0)>\n" }.joined())
    let named = try lines(predict(["--json", "--classes", "names.txt", name(0)]).succeed())
    let classes = try #require(named[0].predictions)
    #expect(classes.allSatisfy { $0.class == "class <\($0.label)>" })
    try folder.write("three.txt", "a\nb\nc\n")
    for (arguments, code, words) in [
      (["--classes", "three.txt", name(0)], Int32(64), "has 3 names, but the model has 10 classes"),
      (["--classes", "gone.txt", name(0)], 65, "--classes gone.txt cannot be read"),
      (["--top", "0", name(0)], 64, "--top 0 must lie between 1 and 10"),
      (["--top", "11", name(0)], 64, "--top 11 must lie between 1 and 10"),
      (["--json", "--csv", name(0)], 64, "give one of them"),
      (["--output", "grid.jpg", name(0)], 64, "--output grid.jpg must end in .png"),
      (["--output", "gone/grid.png", name(0)], 73, "there is no directory gone"),
      (["--threads", "0", name(0)], 64, "--threads 0 must be at least 1"),
      (["-", name(0), "-"], 64, "standard input (-) is given more than once, but it is one file; give - once."),
      ([], 64, "Missing expected argument"),
    ] {
      let output = try predict(arguments).run()
      #expect(output.exitCode == code && output.standardError.contains(words), "\(output.standardError)")
      // Before anything is classified.
      #expect(output.standardOutput.isEmpty)
    }
    // Before the checkpoint is read.
    let output = try predict(["--output", "gone/grid.png", name(0)], checkpoint: "gone").run()
    #expect(output.exitCode == 73 && output.errorLines.count == 1, "\(output.standardError)")
  }

  @Test func checkpointsThatCannotPredict() throws {
    let model = "run/checkpoints/step-00000003/model.safetensors"
    let bare = try lines(predict(["--json", name(0)], checkpoint: model).succeed())
    #expect(bare[0].predictions?[0].class != nil)
    for (checkpoint, words) in [("gone", "there is no checkpoint gone"), ("data", "holds no checkpoint")] {
      let output = try predict([name(0)], checkpoint: checkpoint).run()
      #expect(output.exitCode == 65 && output.errorLines.count == 1, "\(output.standardError)")
      #expect(output.standardError.contains(words))
    }
  }
}
