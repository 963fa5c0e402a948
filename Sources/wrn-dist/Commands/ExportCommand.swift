import ArgumentParser
import Datasets
import Exporting
import Foundation
import Models
import Training

/// Writes a checkpoint's model in another program's format.
struct ExportCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "export",
    abstract: "Writes a trained model for ONNX Runtime or PyTorch.",
    discussion: """
      An ONNX file has raw pixels as input and logits as output: the run's pixel normalization is part of it, batch norms \
      use running statistics, and the batch size is free. A PyTorch file is a state_dict for the twins in \
      Examples/pytorch, which torch.load reads with weights_only=True; the pixel normalization is not part of it.
      """)

  @OptionGroup var model: InferenceOptions
  @Option(help: "Write an ONNX file (opset \(ONNXModel.operatorSetVersion)).") var onnx: String?
  @Option(help: "Write a PyTorch state_dict.") var pytorch: String?
  @Option(
    help: """
      Raw images of the ONNX file: uint8 [batch, 32, 32, 3], or float [batch, 3, 32, 32]; both with values 0 to 255. \
      (default: uint8)
      """)
  var input: ONNXModel.Input?
  @Flag(help: "ONNX: make batch norms part of the preceding convolution where the graph allows it.") var fold = false

  func run() throws {
    guard onnx != nil || pytorch != nil else {
      throw UsageError("export needs the file to write; give --onnx FILE or --pytorch FILE.")
    }
    guard onnx != nil || !fold else {
      throw UsageError("--fold needs --onnx: PyTorch's twin has the batch norms; leave --fold out.")
    }
    guard onnx != nil || input == nil else {
      throw UsageError("--input needs --onnx: a state_dict does not describe its input; leave --input out.")
    }
    let files = [onnx, pytorch].compactMap { $0 }
    guard Set(files.map { URL(fileURLWithPath: $0).standardizedFileURL.path }).count == files.count else {
      throw UsageError("--onnx and --pytorch name the same file; give them different names.")
    }
    // Before the work, and before the first of two files is written.
    for file in files { try OutputFile.check(file) }
    let model = try InferenceModel(model)
    print(model.description)
    if let onnx { try writeONNX(model, to: onnx) }
    if let pytorch {
      let bytes = try PyTorchStateDict.bytes(model.state)
      try OutputFile.replace(pytorch, with: bytes)
      print(
        "\(pytorch): PyTorch state_dict, \(Self.size(bytes)); input float [batch, 3, 32, 32], "
          + "\(model.normalization.inWords)")
    }
  }

  private func writeONNX(_ model: InferenceModel, to path: String) throws {
    let graph = model.state.graph
    let input = input ?? .uint8
    let names = try JSONEncoder().encode(model.classNames)
    var metadata = [
      (name: "network", value: graph.name), (name: "weights", value: self.model.weights.rawValue),
      (name: "normalization", value: model.normalization.mode.rawValue),
      (name: "classes", value: String(decoding: names, as: UTF8.self)),
    ]
    if let step = model.step { metadata.append((name: "step", value: String(step))) }
    let exported = try ONNXModel(
      model.state, normalization: model.normalization, input: input, foldsNormalizations: fold,
      programVersion: WRNDist.configuration.version, metadata: metadata)
    let bytes = try exported.bytes()
    try OutputFile.replace(path, with: bytes)
    let folded =
      fold ? ", \(exported.foldedNormalizationCount) of \(graph.normalizationCount) batch norms folded" : ""
    print(
      "\(path): ONNX opset \(ONNXModel.operatorSetVersion), \(Self.size(bytes)); input images \(input.rawValue) "
        + "\(input.shape(imageSize: graph.imageSize)), raw values 0 to 255; output logits float [batch, "
        + "\(graph.classCount)]\(folded)")
  }

  private static func size(_ bytes: [UInt8]) -> String { String(format: "%.1f MB", Double(bytes.count) / 1e6) }
}

extension PixelNormalization {
  /// What the caller of a model without it must do with raw values.
  fileprivate var inWords: String {
    switch self {
    case .none: "raw values 0 to 255"
    case .meanStd(let mean, let std):
      "(value - mean) / std of raw values 0 to 255, with mean \([mean.x, mean.y, mean.z]) and std \([std.x, std.y, std.z])"
    case .zca: "after the whitening in the checkpoint's zca.safetensors"
    }
  }
}
