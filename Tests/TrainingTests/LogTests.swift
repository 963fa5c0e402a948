import Foundation
import TestSupport
import Testing
import Training

/// `metrics.jsonl` and TensorBoard's files.
@Suite struct LogTests {
  private let folder: TemporaryDirectory

  init() throws { folder = try TemporaryDirectory() }

  private func write(_ steps: ClosedRange<Int>, after completed: Int, loss: Float = 0.1) throws {
    let log = try MetricLog(folder.path + "/metrics.jsonl", keepingStepsThrough: completed)
    for step in steps {
      log.write(
        TrainingStep.Result(
          loss: loss, learningRate: 0.01, gradientNorm: 1.5, communicationSeconds: 0.25,
          stepSeconds: 0.75),
        step: step, imagesPerSecond: 100, dataSeconds: 0.125)
    }
  }

  @Test func linesAreLiteral() throws {
    try write(1...1, after: 0, loss: 2.3111856)
    #expect(
      folder.read("metrics.jsonl")
        == #"{"kind":"train","step":1,"loss":2.3111856,"learning_rate":0.01,"images_per_second":100.0,"gradient_norm":1.5,"#
        + #""compute_seconds":0.5,"communication_seconds":0.25,"data_seconds":0.125}"# + "\n")
    try write(1...1, after: 0, loss: .nan)
    #expect(folder.read("metrics.jsonl").contains("\"loss\":null,"))
  }

  @Test func numbersParseToTheSameBits() throws {
    struct Line: Decodable { let loss: Float }
    for loss: Float in [0.1, 1 / 3, 1e-30, 3.4e38, .leastNonzeroMagnitude, 16_777_218] {
      try write(1...1, after: 0, loss: loss)
      let line = try JSONDecoder().decode(Line.self, from: Data(folder.read("metrics.jsonl").utf8))
      #expect(line.loss == loss)
    }
  }

  @Test func aResumedLogReadsAsIfItHadNeverStopped() throws {
    try write(1...9, after: 0)
    let whole = folder.read("metrics.jsonl")
    // Killed while writing step 10.
    try folder.write("metrics.jsonl", whole + "{\"kind\":\"train\",\"step\":1")
    try write(6...9, after: 5)
    #expect(folder.read("metrics.jsonl") == whole)
    try write(1...2, after: 0)
    #expect(folder.read("metrics.jsonl").split(separator: "\n").count == 2)
  }

  /// A byte that is not UTF-8 must not hide the lines beside it, nor keep the lines of later steps.
  @Test func damagedLinesAreRemoved() throws {
    try write(1...9, after: 0)
    let file = folder.url.appendingPathComponent("metrics.jsonl")
    let lines = folder.read("metrics.jsonl").split(separator: "\n").map(String.init)
    var bytes = Data(lines.prefix(9).joined(separator: "\n").utf8) + Data("\n".utf8)
    // In the line of step 3.
    bytes[lines[0].utf8.count + lines[1].utf8.count + 2 + 12] = 0xff
    try bytes.write(to: file)
    let log = try MetricLog(file.path, keepingStepsThrough: 7)
    #expect(log.damagedLineCount == 1 && log.evaluatedStep == 0)
    let kept = folder.read("metrics.jsonl").split(separator: "\n").map(String.init)
    #expect(kept == [0, 1, 3, 4, 5, 6].map { lines[$0] })
  }

  /// Another process could have created them, as links to files elsewhere.
  @Test func temporaryFilesAreNeverFollowed() throws {
    try write(1...2, after: 0)
    try folder.write("precious", "keep")
    try folder.write("run/precious", "keep")
    for link in ["metrics.jsonl.tmp", "run/.config.yaml.tmp"] {
      try FileManager.default.createSymbolicLink(
        atPath: folder.path + "/" + link, withDestinationPath: folder.path + "/precious")
    }
    try write(2...3, after: 1)
    let output = try OutputDirectory(creating: folder.path + "/run")
    try output.write("a: 1\n", to: "config.yaml")
    #expect(folder.read("precious") == "keep")
    #expect(folder.read("run/config.yaml") == "a: 1\n")
  }

  /// RFC 3720, B.4.
  @Test func checksumsAreTheStandards() {
    #expect(CRC32C.checksum([UInt8](repeating: 0, count: 32)) == 0x8a91_36aa)
    #expect(CRC32C.checksum([UInt8](repeating: 0xff, count: 32)) == 0x62a8_ab43)
    #expect(CRC32C.checksum(0..<32) == 0x46dd_794e)
    #expect(CRC32C.checksum(Array("123456789".utf8)) == 0xe306_9283)
  }

  @Test func eventFilesAreRecordsWithTwoChecksums() throws {
    let file = try TensorBoardWriter(directory: folder.path, startingAfter: 0)
    try file.write([("metrics/CrossEntropyLoss", 0.5), ("metrics/Accuracy", 0.25)], step: 300)
    try file.write(text: "a: b", tag: "configuration", step: 1)
    let names = try FileManager.default.contentsOfDirectory(atPath: folder.path)
    #expect(names.count == 1 && names[0].hasPrefix("events.out.tfevents."))
    let records = try payloads(Array(Data(contentsOf: folder.url.appendingPathComponent(names[0]))))
    #expect(records.count == 4)
    let texts = records.map { String(decoding: $0, as: UTF8.self) }
    #expect(texts[0].contains("brain.Event:2"))
    #expect(texts[2].contains("metrics/CrossEntropyLoss") && texts[2].contains("metrics/Accuracy"))
    // Field 2 (step) is a varint: 300 = 0xac 0x02. Field 2 of a value is a little-endian float.
    #expect(records[2].firstRange(of: [0x10, 0xac, 0x02]) != nil)
    for value in [Float(0.5), 0.25] {
      let bytes = withUnsafeBytes(of: value.bitPattern.littleEndian) { [0x15] + Array($0) }
      #expect(records[2].firstRange(of: bytes) != nil)
    }
    #expect(texts[3].contains("configuration") && texts[3].contains("a: b"))
    // A second run in the same second gets another file, which sorts after.
    _ = try TensorBoardWriter(directory: folder.path, startingAfter: 0)
    #expect(try FileManager.default.contentsOfDirectory(atPath: folder.path).sorted().first == names[0])
  }

  private func payloads(_ bytes: [UInt8]) throws -> [[UInt8]] {
    func number<Number: FixedWidthInteger>(_ at: Int, _: Number.Type) -> Number {
      bytes.withUnsafeBytes { Number(littleEndian: $0.loadUnaligned(fromByteOffset: at, as: Number.self)) }
    }
    var records: [[UInt8]] = []
    var position = 0
    while position < bytes.count {
      let length = Int(number(position, UInt64.self))
      let payload = Array(bytes[position + 12..<position + 12 + length])
      #expect(number(position + 8, UInt32.self) == CRC32C.masked(Array(bytes[position..<position + 8])))
      #expect(number(position + 12 + length, UInt32.self) == CRC32C.masked(payload))
      records.append(payload)
      position += 16 + length
    }
    #expect(position == bytes.count)
    return records
  }

  @Test func anOutputDirectoryThatCannotBeCreated() throws {
    try folder.write("file", "")
    let error = #expect(throws: CheckpointError.self) { try OutputDirectory(creating: folder.path + "/file/run") }
    #expect(error?.exitCode == 73)
    #expect(!OutputDirectory.holdsRun(folder.path))
    let output = try OutputDirectory(creating: folder.path + "/run")
    try output.write("a: 1\n", to: "config.yaml")
    #expect(folder.read("run/config.yaml") == "a: 1\n")
    try FileManager.default.createDirectory(atPath: output.path("taken"), withIntermediateDirectories: true)
    #expect(throws: CheckpointError.self) { try output.write("a: 1\n", to: "taken") }
    #expect(!FileManager.default.fileExists(atPath: output.path(".taken.tmp")), "no temporary file is left")
    #expect(!OutputDirectory.holdsRun(output.path), "an empty run can be started")
    try folder.write("run/metrics.jsonl", "{}\n")
    #expect(OutputDirectory.holdsRun(output.path))
  }
}
