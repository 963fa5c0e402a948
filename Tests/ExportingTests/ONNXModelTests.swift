import Collectives
import Datasets
import Exporting
import Models
import Tensors
import Testing
import Training

/// Exported models compute the logits of ours: every element against an interpreter of ONNX in Double.
@Suite struct ONNXModelTests {
  /// A model and the options of its export.
  struct Case: CustomTestStringConvertible, Sendable {
    let configuration: WideResNetConfiguration
    let input: ONNXModel.Input
    let normalization: NormalizationMode
    let folds: Bool
    /// The batch norms that the graph allows to fold.
    let foldedCount: Int

    var testDescription: String {
      "\(configuration.architecture) \(configuration.name) \(input) \(normalization) \(folds)"
    }

    init(
      _ architecture: WideResNetConfiguration.Architecture, depth: Int = 10, k: Int = 1,
      block: [Int] = [3, 3], dropout: Double = 0, input: ONNXModel.Input, _ normalization: NormalizationMode,
      folded: Int?
    ) throws {
      configuration = try WideResNetConfiguration(
        architecture: architecture, depth: depth, widenFactor: k, block: block, dropout: dropout)
      (self.input, self.normalization) = (input, normalization)
      (folds, foldedCount) = (folded != nil, folded ?? 0)
    }
  }

  /// Models of both families, with every block, input and normalization.
  ///
  /// In Trax's networks the second norm of each block folds. In the paper's all but the first norm of a block do, and the
  /// first one of the network if no identity skip reads the stem's output, so for k > 1.
  static let cases: [Case] = [
    try? Case(.trax, input: .uint8, .none, folded: nil),
    try? Case(.trax, input: .float, .meanStd, folded: 3),
    try? Case(.trax, depth: 16, k: 2, dropout: 0.3, input: .uint8, .meanStd, folded: 6),
    try? Case(.wrn, input: .uint8, .none, folded: 3),
    try? Case(.wrn, k: 2, input: .float, .none, folded: 4),
    try? Case(.wrn, k: 2, input: .float, .zca, folded: nil),
    try? Case(.wrn, depth: 16, input: .uint8, .zca, folded: 6),
    try? Case(.wrn, block: [1, 3, 1], input: .uint8, .meanStd, folded: 6),
    try? Case(.wrn, k: 2, block: [3, 1], dropout: 0.2, input: .uint8, .none, folded: nil),
    try? Case(.wrn, k: 2, block: [3], input: .uint8, .meanStd, folded: 1),
    try? Case(.wrn, block: [3, 1, 1, 3], input: .float, .none, folded: 9),
  ].compactMap { $0 }

  private static let imageCount = 2

  /// A model with parameters and statistics as after training: no zeros and ones.
  static func model(_ configuration: WideResNetConfiguration) -> ModelState {
    let model = ModelState(configuration.graph())
    model.graph.initialize(model.parameters, model.runningStatistics, seed: 3)
    for store in model.replicatedStores {
      for parameter in store.layout.parameters {
        let values = store[parameter]
        let stream = RandomStream(seed: 4, purpose: parameter.name)
        switch parameter.kind {
        case .scale, .runningVariance: for i in values.indices { values[i] = Float(0.5 + stream.uniform(UInt64(i))) }
        case .shift, .runningMean, .bias: stream.fillNormal(values, standardDeviation: 0.3)
        case .convolutionWeight, .denseWeight: break
        }
      }
    }
    return model
  }

  private static func normalization(_ mode: NormalizationMode) throws -> PixelNormalization {
    switch mode {
    case .none: return .none
    case .meanStd: return .cifar10
    case .zca:
      let count = ZCAWhitening.featureCount
      // Near the identity, and not symmetric: a transposed matrix gives other logits.
      var matrix = [Float](repeating: 0, count: count * count)
      matrix.withUnsafeMutableBufferPointer {
        RandomStream(seed: 5, purpose: "matrix").fillNormal($0, standardDeviation: 0.01)
      }
      for i in 0..<count { matrix[i * count + i] += 1 }
      let mean = (0..<count).map { Float($0 % 7) * 0.1 - 0.3 }
      return .zca(try ZCAWhitening(mean: mean, matrix: matrix))
    }
  }

  @Test func allCasesExist() { #expect(Self.cases.count == 11) }

  @Test(arguments: cases)
  func logitsAreOurs(example: Case) throws {
    let model = Self.model(example.configuration)
    let normalization = try Self.normalization(example.normalization)
    let exported = try ONNXModel(
      model, normalization: normalization, input: example.input, foldsNormalizations: example.folds,
      programVersion: "0", metadata: [])
    #expect(exported.foldedNormalizationCount == example.foldedCount)
    #expect(
      exported.message.graph.node.count { $0.opType == "BatchNormalization" }
        == model.graph.normalizationCount - example.foldedCount)

    let split = SyntheticDataset.dataset().test
    let (ours, images) = try Self.logits(model, normalization, split, example.input)
    // Parsed again, as a program does that reads the file.
    let message = try Onnx_ModelProto(serializedBytes: exported.bytes())
    let theirs = ONNXInterpreter.logits(message, images: images, count: Self.imageCount)
    #expect(theirs.shape == [Self.imageCount, 10])
    let largest = theirs.elements.map { abs($0) }.max() ?? 0
    #expect(largest > 0.01)
    for (i, logit) in theirs.elements.enumerated() {
      #expect(abs(Double(ours[i]) - logit) <= 2e-5 * max(1, largest), "logit \(i): \(ours[i]) and \(logit)")
    }
  }

  /// Our logits by ``Predictor``, and the images in the layout of an ONNX input.
  private static func logits(
    _ model: ModelState, _ normalization: PixelNormalization, _ split: ImageDataset.Split, _ input: ONNXModel.Input
  ) throws -> (logits: [Float], images: [Double]) {
    let predictor = Predictor(
      model, pipeline: ImagePipeline(normalization: normalization), engine: BLASConvolutionEngine(),
      pool: try WorkerPool(workerCount: 1), batchSize: imageCount)
    var images: [Double] = []
    for n in 0..<imageCount {
      let pixels = AlignedBuffer<Float>(count: 3072)
      _ = try split.readRecord(at: n, pixels: pixels.pointer)
      // The last image has one colour, which contrast normalization must not divide by its norm of 0.
      let interleaved = n == imageCount - 1 ? [Double](repeating: 200, count: 3072) : pixels.elements.map(Double.init)
      let planes = (0..<3).flatMap { c in (0..<1024).map { interleaved[3 * $0 + c] } }
      for (i, value) in planes.enumerated() { predictor.planes.pointer[3072 * n + i] = UInt8(value) }
      images += input == .uint8 ? interleaved : planes
    }
    let logits = try predictor.logits(count: imageCount)
    return (Array(UnsafeBufferPointer(start: logits, count: 10 * imageCount)), images)
  }

  /// A runtime's fp32 mean of an image of one colour is rounded: differences of 1e-5 are no contrast.
  @Test func aRoundedMeanIsNotAmplified() throws {
    let exported = try ONNXModel(
      Self.model(try WideResNetConfiguration(architecture: .wrn, depth: 10, widenFactor: 1)),
      normalization: try Self.normalization(.zca), input: .uint8, programVersion: "0")
    let exact = [Double](repeating: 200, count: 3072)
    let rounded = exact.indices.map { 200 + ($0.isMultiple(of: 2) ? 1e-5 : -1e-5) }
    let logits = ONNXInterpreter.logits(exported.message, images: exact + rounded, count: 2).elements
    for label in 0..<10 {
      #expect(abs(logits[label] - logits[10 + label]) <= 1e-3 * max(1, abs(logits[label])), "logit \(label)")
    }
  }

  @Test func theFileDescribesItself() throws {
    let model = Self.model(try WideResNetConfiguration(architecture: .wrn, depth: 10, widenFactor: 2))
    func message(_ input: ONNXModel.Input) throws -> Onnx_ModelProto {
      let exported = try ONNXModel(
        model, normalization: .none, input: input, programVersion: "1.2", metadata: [("step", "7"), ("classes", "[]")])
      #expect(try exported.bytes() == exported.bytes())
      return try Onnx_ModelProto(serializedBytes: exported.bytes())
    }
    let integers = try message(.uint8)
    #expect(integers.irVersion == 8 && integers.opsetImport.map(\.version) == [17])
    #expect(integers.producerName == "wrn-dist" && integers.producerVersion == "1.2")
    #expect(integers.metadataProps.map(\.key) == ["step", "classes"] && integers.metadataProps[0].value == "7")
    #expect(integers.graph.name == "WRN-10-2")
    func shape(_ value: Onnx_ValueInfoProto) -> [String] {
      value.type.tensorType.shape.dim.map { $0.dimParam.isEmpty ? String($0.dimValue) : $0.dimParam }
    }
    #expect(integers.graph.input.map(\.name) == ["images"] && integers.graph.input[0].type.tensorType.elemType == 2)
    #expect(shape(integers.graph.input[0]) == ["batch", "32", "32", "3"])
    let floats = try message(.float)
    #expect(floats.graph.input[0].type.tensorType.elemType == 1)
    #expect(shape(floats.graph.input[0]) == ["batch", "3", "32", "32"])
    #expect(floats.graph.output.map(\.name) == ["logits"] && shape(floats.graph.output[0]) == ["batch", "10"])
    // Without folding the constants are the checkpoint's tensors, names and layouts included.
    let constants = Dictionary(uniqueKeysWithValues: floats.graph.initializer.map { ($0.name, $0) })
    #expect(constants.count == model.modelTensors.count)
    for tensor in model.modelTensors {
      let constant = ONNXInterpreter.constant(try #require(constants[tensor.name]))
      #expect(constant.shape == tensor.shape.dimensions)
      var elements = [Float](repeating: 0, count: tensor.shape.elementCount)
      elements.withUnsafeMutableBufferPointer { if let start = $0.baseAddress { tensor.copy(to: start) } }
      #expect(constant.elements == elements.map(Double.init), "\(tensor.name)")
    }
  }

  @Test func aModelBeyondTheFormatIsRefused() throws {
    // 1.1 billion parameters: memory that is never touched.
    let model = ModelState(try WideResNetConfiguration(architecture: .wrn, depth: 28, widenFactor: 56).graph())
    #expect {
      _ = try ONNXModel(model, normalization: .none, input: .uint8, programVersion: "0")
    } throws: { "\($0)".contains("too many for an ONNX file; use the checkpoint's model.safetensors") }
    #expect {
      _ = try PyTorchStateDict.bytes(model)
    } throws: { "\($0)".contains("use the checkpoint's model.safetensors") }
  }
}
