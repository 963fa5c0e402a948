import Foundation
import TestSupport
import Testing

/// `wrn-dist export`: files, reports and refusals; ExportingTests checks the contents.
@Suite struct ExportTests {
  private let folder: TemporaryDirectory

  init() throws {
    folder = try TemporaryDirectory()
    try Job.training(
      folder, output: "run",
      ["--architecture", "wrn", "--widen-factor", "2", "--steps", "2", "--normalize", "mean-std"]
    ).succeed()
  }

  private func export(_ arguments: [String], checkpoint: String = "run") -> Job {
    Job(folder, ["export", "--checkpoint", checkpoint] + arguments)
  }

  private func contents(_ name: String) throws -> Data { try Data(contentsOf: folder.url.appendingPathComponent(name)) }

  private func refuse(
    _ arguments: [String], checkpoint: String = "run", code: Int32, _ words: String,
    sourceLocation: SourceLocation = #_sourceLocation
  ) throws {
    let output = try export(arguments, checkpoint: checkpoint).run()
    #expect(output.exitCode == code, "\(output.standardError)", sourceLocation: sourceLocation)
    #expect(output.errorLines.count == 1, sourceLocation: sourceLocation)
    #expect(output.standardError.contains(words), "\(output.standardError)", sourceLocation: sourceLocation)
  }

  @Test func filesAreWrittenAndDescribed() throws {
    let both = try export(["--onnx", "a.onnx", "--pytorch", "a.pt"]).succeed()
    #expect(both.lines[0] == "WRN-10-2, raw weights, run/checkpoints/step-00000002, after step 2")
    #expect(both.lines[1].hasPrefix("a.onnx: ONNX opset 17, 1.2 MB; input images uint8 [batch, 32, 32, 3]"))
    #expect(both.lines[2].hasPrefix("a.pt: PyTorch state_dict, 1.2 MB; input float [batch, 3, 32, 32], (value - mean)"))
    #expect(both.lines[2].hasSuffix("with mean [125.3, 123.0, 113.9] and std [63.0, 62.1, 66.7]"))
    let again = try export(["--onnx", "b.onnx", "--pytorch", "b.pt"]).succeed()
    #expect(again.lines.count == 3)
    #expect(try contents("a.onnx") == contents("b.onnx") && contents("a.pt") == contents("b.pt"))
    let folded = try export(["--onnx", "c.onnx", "--fold", "--input", "float"]).succeed()
    #expect(folded.lines[1].contains("images float [batch, 3, 32, 32]"))
    #expect(folded.lines[1].hasSuffix("4 of 7 batch norms folded"))
    #expect(try contents("c.onnx") != contents("a.onnx"))
    #expect(folder.names(".").filter { $0.hasSuffix(".tmp") }.isEmpty)
    // The names of the run's classes, in the file.
    #expect(try contents("a.onnx").range(of: Data(#"["disc","#.utf8)) != nil)
  }

  @Test func averagedWeightsAreOtherWeights() throws {
    try refuse(["--onnx", "a.onnx", "--weights", "average"], code: 65, "has no averaged weights")
    try Job.training(folder, output: "averaged", ["--steps", "3", "--average-decay", "0.5"]).succeed()
    let average = try export(["--pytorch", "average.pt", "--weights", "average"], checkpoint: "averaged").succeed()
    #expect(average.lines[0].hasPrefix("WRN-10-1, averaged weights"))
    try export(["--pytorch", "raw.pt"], checkpoint: "averaged").succeed()
    #expect(try contents("raw.pt") != contents("average.pt"))
  }

  @Test func badInputIsRefused() throws {
    try refuse([], code: 64, "give --onnx FILE or --pytorch FILE")
    try refuse(["--pytorch", "a.pt", "--fold"], code: 64, "--fold needs --onnx")
    try refuse(["--pytorch", "a.pt", "--input", "uint8"], code: 64, "--input needs --onnx")
    for same in ["a", "./a", "run/../a"] {
      try refuse(["--pytorch", same, "--onnx", "a"], code: 64, "name the same file")
    }
    // Before the checkpoint is read, which does not exist.
    try refuse(["--onnx", "gone/a.onnx"], checkpoint: "gone", code: 73, "there is no directory gone")
    try refuse(["--pytorch", "run"], checkpoint: "gone", code: 73, "run is a directory")
    // Before the first of two files is written.
    try refuse(["--onnx", "a.onnx", "--pytorch", "gone/a.pt"], code: 73, "there is no directory gone")
    try refuse(["--onnx", "a.onnx"], checkpoint: "gone", code: 65, "there is no checkpoint gone")
    try refuse(["--onnx", "a.onnx", "--normalize", "zca"], code: 64, "needs the whitening of a run")
    #expect(folder.names(".").filter { $0.hasPrefix("a") }.isEmpty)
  }

  /// A file of logits, heads without classes, a model without statistics, and one with a tensor too many.
  @Test func unknownTensorsAreRefused() throws {
    func file(_ name: String, _ tensors: [(name: String, shape: [Int])]) throws {
      var (fields, offset) = ([String](), 0)
      for tensor in tensors {
        let end = offset + 4 * tensor.shape.reduce(1, *)
        let shape = tensor.shape.map(String.init).joined(separator: ",")
        fields.append(#""\#(tensor.name)":{"dtype":"F32","shape":[\#(shape)],"data_offsets":[\#(offset),\#(end)]}"#)
        offset = end
      }
      let header = "{\(fields.joined(separator: ","))}"
      var bytes = withUnsafeBytes(of: UInt64(header.utf8.count).littleEndian) { Data($0) }
      bytes += Data(header.utf8) + Data(count: offset)
      try bytes.write(to: folder.url.appendingPathComponent(name))
    }
    try file("logits.safetensors", [("logits", [3, 10])])
    try refuse(
      ["--onnx", "a.onnx"], checkpoint: "logits.safetensors", code: 65,
      "logits.safetensors is not a Wide ResNet of Trax or of the paper; its tensors have other names or shapes")

    let tensors = try Job(folder, ["inspect", "run/checkpoints/step-00000002/model.safetensors"]).succeed().lines
      .prefix { !$0.hasSuffix("elements") }
      .map { line in
        let fields = line.split(separator: "  ", omittingEmptySubsequences: true).map(String.init)
        let shape = fields[2].trimmingCharacters(in: CharacterSet(charactersIn: " []"))
        return (name: fields[0], shape: shape.split(separator: ", ").compactMap { Int($0) })
      }
    let body = tensors.filter { $0.name != "head.weight" }
    #expect(body.count == tensors.count - 1)
    // A scalar, no classes, no channels (which declares many classes in no bytes), and one dimension.
    let shapes: [[Int]] = [[], [0, 64], [1 << 40, 0], [10]]
    for (i, shape) in shapes.enumerated() {
      try file("head-\(i).safetensors", body + [(name: "head.weight", shape: shape)])
      try refuse(
        ["--onnx", "a.onnx"], checkpoint: "head-\(i).safetensors", code: 65,
        "head-\(i).safetensors is not a Wide ResNet of Trax or of the paper; its tensors have other names or shapes")
    }
    try file("model.safetensors", tensors + [(name: "extra.weight", shape: [2])])
    try refuse(
      ["--pytorch", "a.pt"], checkpoint: "model.safetensors", code: 65,
      "it has a tensor extra.weight that the network does not have")
    try file("weights.safetensors", tensors.filter { !$0.name.contains("running") })
    try refuse(
      ["--onnx", "a.onnx"], checkpoint: "weights.safetensors", code: 65,
      "weights.safetensors has no running statistics, which predictions need")
    #expect(!folder.names(".").contains("a.onnx") && !folder.names(".").contains("a.pt"))
  }
}
