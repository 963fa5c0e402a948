import Foundation
import TestSupport
import Testing

/// Damaged, incompatible or hostile checkpoints, for `train`, `evaluate` and `inspect`.
@Suite struct CheckpointInputTests {
  private let folder: TemporaryDirectory
  private let checkpoint = "run/checkpoints/step-00000002"

  init() throws {
    folder = try TemporaryDirectory()
    try Job.training(folder, output: "run", ["--steps", "2"]).succeed()
  }

  private func refuse(
    _ arguments: [String], _ word: String, ranks: Int? = nil, code: Int32 = 65,
    sourceLocation: SourceLocation = #_sourceLocation
  ) throws {
    let output = try Job(folder, ranks: ranks, arguments).run()
    #expect(output.exitCode == code, "\(output.standardError)", sourceLocation: sourceLocation)
    #expect(output.errorLines.count == 1, sourceLocation: sourceLocation)
    #expect(
      output.errorLines.first?.contains(word) == true, "\(output.standardError)",
      sourceLocation: sourceLocation)
  }

  private func path(_ name: String) -> String { folder.url.appendingPathComponent(name).path }

  @Test func missing() throws {
    for command in [["inspect", "gone"], ["evaluate", "--checkpoint", "gone"], ["train", "--init", "gone"]] {
      try refuse(command, "there is no checkpoint gone")
    }
  }

  @Test func anotherNetworkOrOtherSettings() throws {
    let flags = ["train", "--data", "synthetic", "--depth", "10", "--output-dir", "run"]
    try refuse(flags + ["--batch-size", "32"], "was made with --batch-size 16", code: 64)
    let changes = [
      ("--seed", "5", "0"), ("--wire", "bf16", "fp32"), ("--flip", "random", "none"), ("--crop-padding", "4", "0"),
      ("--schedule", "cosine", "constant"), ("--optimizer", "sgd", "adam"), ("--label-smoothing", "0.1", "0.0"),
      ("--normalize", "mean-std", "none"), ("--architecture", "wrn", "trax"), ("--dropout", "0.5", "0.0"),
      ("--average-decay", "0.9", "0.0"), ("--resolution", "16@0,32@0.5", "32"),
    ]
    for (i, (flag, value, earlier)) in changes.enumerated() {
      try refuse(
        flags + ["--batch-size", "16", flag, value],
        "was made with \(flag) \(earlier) but this run has \(flag) \(value)", ranks: i < 2 ? 2 : nil, code: 64)
    }
    let other = ["train", "--depth", "16", "--data", "synthetic", "--output-dir", "new", "--init", checkpoint]
    try refuse(other, "does not fit the network", ranks: 2)
    #expect(folder.names("new").isEmpty)
  }

  @Test func anotherDataSet() throws {
    try Job(folder, ["data", "synthesize", "other", "--seed", "1"]).succeed()
    try refuse(
      ["train", "--depth", "10", "--batch-size", "16", "--data", "other", "--output-dir", "run", "--steps", "3"],
      "was trained on another data set")
  }

  @Test func truncated() throws {
    let model = path("\(checkpoint)/model.safetensors")
    let whole = try Data(contentsOf: URL(fileURLWithPath: model))
    try whole.prefix(whole.count / 2).write(to: URL(fileURLWithPath: model))
    try refuse(["inspect", checkpoint], "it was cut short or replaced")
    try refuse(["evaluate", "--checkpoint", model, "--data", "synthetic"], "but only", ranks: 2)
    // The only checkpoint is damaged: a silent restart would discard the run.
    try refuse(
      ["train", "--depth", "10", "--batch-size", "16", "--data", "synthetic", "--output-dir", "run"],
      "no checkpoint in run/checkpoints is valid")
  }

  @Test func aFlippedBit() throws {
    let model = URL(fileURLWithPath: path("\(checkpoint)/model.safetensors"))
    var bytes = try Data(contentsOf: model)
    bytes[bytes.count - 7] ^= 1
    try bytes.write(to: model)
    try refuse(["inspect", "--digest", checkpoint], "its SHA-256 is not the one in state.json")
  }

  /// A result is never silently that of another checkpoint.
  @Test func anOlderCheckpointIsNamed() throws {
    try Job.training(folder, output: "run", ["--steps", "4"]).succeed()
    let evaluate = ["evaluate", "--checkpoint", "run", "--data", "synthetic", "--eval-batches", "2"]
    let newest = try Job(folder, evaluate).succeed()
    #expect(newest.lines.contains("run/checkpoints/step-00000004, after step 4") && newest.standardError.isEmpty)
    let model = URL(fileURLWithPath: path("run/checkpoints/step-00000004/model.safetensors"))
    var bytes = try Data(contentsOf: model)
    bytes[bytes.count - 7] ^= 1
    try bytes.write(to: model)
    for ranks in [nil, 2] {
      let output = try Job(folder, ranks: ranks, evaluate).succeed()
      #expect(output.lines.contains("run/checkpoints/step-00000002, after step 2"), "\(output.standardOutput)")
      #expect(output.standardError.contains("warning: skipped run/checkpoints/step-00000004"))
    }
    struct Origin: Decodable {
      let checkpoint: String
      let step: Int
    }
    let json = try Job(folder, evaluate + ["--json"]).succeed().standardOutput
    let origin = try JSONDecoder().decode(Origin.self, from: Data(json.utf8))
    #expect(origin.checkpoint == "run/checkpoints/step-00000002" && origin.step == 2)
    #expect(try Job(folder, ["inspect", "run"]).succeed().standardError.contains("warning: skipped"))

    try FileManager.default.removeItem(atPath: path("run/checkpoints/step-00000004"))
    let gone = "run/checkpoints/latest names step-00000004, which is gone; an older checkpoint is used"
    #expect(try Job(folder, evaluate).succeed().standardError.contains("warning: \(gone)"))
    let resumed = try Job.training(folder, output: "run", ["--steps", "3"]).succeed()
    #expect(resumed.standardOutput.contains("warning: \(gone)"))
  }

  /// Images that the fingerprint of six does not cover.
  @Test func oneOtherImage() throws {
    try Job(folder, ["data", "synthesize", "data"]).succeed()
    let flags = ["--data", "data", "--steps"]
    try Job.training(folder, output: "files", flags + ["1"]).succeed()
    for name in ["data_batch_1.bin", "test_batch.bin"] {
      let file = URL(fileURLWithPath: path("data/\(name)"))
      let original = try Data(contentsOf: file)
      var changed = original
      changed[3073 * 11 + 100] ^= 1
      try changed.write(to: file)
      try refuse(Job.training(folder, output: "files", flags + ["2"]).arguments, "was trained on another data set")
      try original.write(to: file)
    }
    try Job.training(folder, output: "files", flags + ["2"]).succeed()
  }

  @Test func hostileHeaders() throws {
    func file(_ length: UInt64, _ header: String) throws -> String {
      var bytes = withUnsafeBytes(of: length.littleEndian) { Data($0) }
      bytes += Data(header.utf8)
      let name = "hostile-\(UUID().uuidString).safetensors"
      try bytes.write(to: folder.url.appendingPathComponent(name))
      return name
    }
    func whole(_ header: String) throws -> String { try file(UInt64(header.utf8.count), header) }
    let tensor = #""a":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}"#
    for (name, word) in [
      (try file(.max, "{}"), "claims 18446744073709551615 bytes"),
      (try file(50, "{}"), "but only 2 follow"),
    ] {
      try refuse(["inspect", name], word)
    }
    for (header, word) in [
      ("{\(tensor),\(tensor)}", "occurs twice"),
      (#"{"a":{"dtype":"F99","shape":[0],"data_offsets":[0,0]}}"#, "no dtype that the format knows"),
      (#"{"a":{"dtype":"F32","shape":[0],"data_offsets":[-4,0]}}"#, "no valid data_offsets"),
      (#"{"a":{"dtype":"F32","shape":[9],"data_offsets":[0,36]}}"#, "need 36 bytes but only 0 follow"),
    ] {
      let name = try whole(header)
      try refuse(["inspect", name], word)
      try refuse(["evaluate", "--checkpoint", name, "--data", "synthetic"], word)
    }
  }
}
