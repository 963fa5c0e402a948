import Datasets

extension ONNXGraphWriter {
  /// Appends the input `images` and the run's pixel normalization.
  ///
  /// - Parameters:
  ///   - input: The element type and layout of the images.
  ///   - normalization: The map from raw pixels to the model's input.
  ///   - size: The rows and columns of an image.
  ///   - channels: The colours of an image.
  /// - Returns: The name of the prepared images, `NCHW`.
  mutating func appendPreparedImages(
    _ input: ONNXModel.Input, _ normalization: PixelNormalization, size: Int, channels: Int
  ) -> String {
    let batch = Dimension.free("batch")
    var images = "images"
    // Layout of `images`: that of the input, until it is transposed.
    var isInterleaved = input == .uint8
    switch input {
    case .uint8:
      self.input(images, .uint8, [batch, .size(size), .size(size), .size(channels)])
      images = node("Cast", [images], "images.float", [.integer("to", Onnx_TensorProto.DataType.float.rawValue)])
    case .float: self.input(images, .float, [batch, .size(channels), .size(size), .size(size)])
    }
    func transpose(to order: [Int], _ name: String, _ writer: inout ONNXGraphWriter) {
      images = writer.node("Transpose", [images], name, [.integers("perm", order)])
      isInterleaved.toggle()
    }
    if case .zca(let whitening) = normalization {
      if !isInterleaved { transpose(to: [0, 2, 3, 1], "images.interleaved", &self) }
      images = appendWhitening(images, whitening, size: size, channels: channels)
    }
    if isInterleaved { transpose(to: [0, 3, 1, 2], "images.planes", &self) }
    if case .meanStd(let mean, let std) = normalization {
      let mean = constant("normalization.mean", [1, 3, 1, 1], (0..<3).map { Float(mean[$0]) })
      let std = constant("normalization.std", [1, 3, 1, 1], (0..<3).map { Float(std[$0]) })
      images = node("Sub", [images, mean], "images.centered")
      images = node("Div", [images, std], "images.normalized")
    }
    return images
  }

  /// Appends global contrast normalization and the whitening's matrix product; see ``ZCAWhitening``.
  ///
  /// - Parameters:
  ///   - images: Raw values as fp32, `NHWC`.
  ///   - whitening: The whitening.
  ///   - size: The rows and columns of an image.
  ///   - channels: The colours of an image.
  /// - Returns: The name of the whitened images, `NHWC`.
  private mutating func appendWhitening(
    _ images: String, _ whitening: ZCAWhitening, size: Int, channels: Int
  ) -> String {
    let count = ZCAWhitening.featureCount
    precondition(count == size * size * channels, "a whitening is for images of 32×32 pixels")
    let axes = Onnx_AttributeProto.integers("axes", [1])
    let features = node("Reshape", [images, constant("whitening.rows", [-1, Int64(count)])], "whitening.features")
    let centered = node(
      "Sub", [features, node("ReduceMean", [features], "whitening.brightness", [axes])], "whitening.centered")
    let norm = node("ReduceL2", [centered], "whitening.norm", [axes])
    let scale = constant("whitening.contrast", [], [Float(ZCAWhitening.contrastScale)])
    let divisor = node("Div", [norm, scale], "whitening.divisor")
    // An image of one colour stays zero, as in training. Integer pixels that differ give at least 0.018: less is the
    // rounding of the mean in fp32, which a division would amplify.
    let isConstant = node("Less", [divisor, constant("whitening.smallest", [], [1e-3])], "whitening.isConstant")
    let safe = node("Where", [isConstant, constant("whitening.one", [], [1]), divisor], "whitening.safeDivisor")
    let normalized = node("Div", [centered, safe], "whitening.normalized")
    let difference = node(
      "Sub", [normalized, constant("whitening.mean", [count], whitening.mean)], "whitening.difference")
    let matrix = constant("whitening.matrix", [count, count], whitening.matrix)
    let whitened = node("MatMul", [difference, matrix], "whitening.product")
    let shape = constant("whitening.shape", [-1, Int64(size), Int64(size), Int64(channels)])
    return node("Reshape", [whitened, shape], "whitening.images")
  }
}
