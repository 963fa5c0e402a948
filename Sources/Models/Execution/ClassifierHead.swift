import Support
import Tensors

/// Batch normalization, ReLU, global average pooling, a dense layer and softmax cross entropy, for one microbatch per call.
///
/// The dense layer is so small that naive loops in a fixed order suffice.
final class ClassifierHead {
  private let layer: DenseLayer
  private let labelSmoothing: Double
  private let channels: Int
  private let features: AlignedBuffer<Float>  // [images, C]: pooled activations
  private let logitsBuffer: AlignedBuffer<Float>  // [images, classes]
  private let logitGradients: AlignedBuffer<Float>  // [images, classes]
  /// Σ −log p[label] over the images of each local microbatch.
  let lossSums: AlignedBuffer<Double>

  /// Allocates memory for `imageCount` images in `microbatchCount` microbatches.
  init(_ layer: DenseLayer, imageCount: Int, microbatchCount: Int, labelSmoothing: Double) {
    self.layer = layer
    self.labelSmoothing = labelSmoothing
    channels = layer.inputs
    precondition(channels.isMultiple(of: 8), "the loops over pixels take eight channels at once")
    features = AlignedBuffer(count: imageCount * layer.inputs)
    logitsBuffer = AlignedBuffer(count: imageCount * layer.outputs)
    logitGradients = AlignedBuffer(count: imageCount * layer.outputs)
    lossSums = AlignedBuffer(count: microbatchCount)
  }

  /// The logits, `[images, classes]`.
  var logits: UnsafePointer<Float> { UnsafePointer(logitsBuffer.pointer) }

  /// The bytes of this object's buffers.
  var byteCount: Int {
    features.byteCount + logitsBuffer.byteCount + logitGradients.byteCount + lossSums.byteCount
  }

  /// Returns ``byteCount`` before anything is allocated.
  static func byteCount(_ layer: DenseLayer, imageCount: Int, microbatchCount: Int) -> Int {
    4 * imageCount * (layer.inputs + 2 * layer.outputs) + 8 * microbatchCount
  }

  /// Computes logits, the loss's sum, and the loss's gradient with respect to the logits.
  ///
  /// - Parameters:
  ///   - m: The local microbatch.
  ///   - first: Its first image among this rank's.
  ///   - imageCount: Its images.
  ///   - pixels: H·W of the last activation.
  ///   - activation: The last activation for this microbatch, `NHWC`.
  ///   - map: The last batch normalization.
  ///   - parameters: All parameters.
  ///   - labels: A label per image, 0 ..< classes.
  ///   - lossScale: 1 / images of the global batch: the loss is a mean.
  func forward(
    _ m: Int, first: Int, imageCount: Int, pixels: Int, activation: UnsafePointer<Float>, map: NormalizedReLU,
    parameters: ParameterStore, labels: UnsafePointer<UInt8>, lossScale: Double
  ) {
    let classes = layer.outputs
    let weight = parameters.pointer + layer.weight.range.lowerBound
    let bias = parameters.pointer + layer.bias.range.lowerBound
    var lossSum = 0.0
    for n in 0..<imageCount {
      let feature = features.pointer + (first + n) * channels
      pool(activation + n * pixels * channels, pixels: pixels, map, into: feature)
      let logit = logitsBuffer.pointer + (first + n) * classes
      logit.update(from: bias, count: classes)
      for c in 0..<channels {
        for k in 0..<classes { logit[k] += feature[c] * weight[c * classes + k] }
      }
      let label = Int(labels[n])
      let gradient = logitGradients.pointer + (first + n) * classes
      lossSum += SoftmaxCrossEntropy.evaluate(
        logit, classes: classes, label: label, smoothing: labelSmoothing, scale: lossScale, gradient: gradient)
    }
    lossSums.pointer[m] = lossSum
  }

  /// Computes the gradients of the dense layer and of the ReLU's argument.
  ///
  /// - Parameters:
  ///   - first: The microbatch's first image among this rank's.
  ///   - imageCount: Its images.
  ///   - pixels: H·W of the last activation.
  ///   - activation: The last activation for this microbatch, `NHWC`.
  ///   - map: The last batch normalization.
  ///   - parameters: All parameters.
  ///   - destination: The microbatch's gradients of weight and bias, overwritten.
  ///   - inputGradient: The destination of g', the gradient w.r.t. the ReLU's argument, and of its two sums.
  func backward(
    first: Int, imageCount: Int, pixels: Int, activation: UnsafePointer<Float>, map: NormalizedReLU,
    parameters: ParameterStore, destination: UnsafeMutablePointer<Float>,
    inputGradient: ConvolutionInputGradient
  ) {
    let classes = layer.outputs
    let weight = parameters.pointer + layer.weight.range.lowerBound
    destination.update(repeating: 0, count: layer.range.count)
    let biasDestination = destination + layer.weight.range.count
    inputGradient.sums?.update(repeating: 0, count: 2 * channels)
    for n in 0..<imageCount {
      let gradient = logitGradients.pointer + (first + n) * classes
      let feature = features.pointer + (first + n) * channels
      for k in 0..<classes { biasDestination[k] += gradient[k] }
      for c in 0..<channels {
        var featureGradient: Float = 0
        for k in 0..<classes {
          destination[c * classes + k] += feature[c] * gradient[k]
          featureGradient += gradient[k] * weight[c * classes + k]
        }
        // The feature is read for the last time; its gradient overwrites it.
        feature[c] = featureGradient / Float(pixels)
      }
      unpool(
        feature, activation + n * pixels * channels, pixels: pixels, map, inputGradient,
        offset: n * pixels * channels)
    }
  }

  /// Averages max(0, scale·x + shift) over the pixels of one image.
  private func pool(
    _ x: UnsafePointer<Float>, pixels: Int, _ map: NormalizedReLU, into feature: UnsafeMutablePointer<Float>
  ) {
    for c in stride(from: 0, to: channels, by: 8) {
      let (scale, shift) = (SIMD8<Float>(loading: map.scale + c), SIMD8<Float>(loading: map.shift + c))
      var sum = SIMD8<Float>()
      for pixel in 0..<pixels {
        let value = scale * SIMD8<Float>(loading: x + (pixel &* channels &+ c)) + shift
        sum += value.replacing(with: 0, where: value .< 0)
      }
      (sum / Float(pixels)).store(to: feature + c)
    }
  }

  /// Spreads a feature's gradient over the pixels whose ReLU argument is positive or NaN, and adds Σg' and
  /// Σg'·(x − mean): fp32 within the image, Double beyond.
  private func unpool(
    _ featureGradient: UnsafePointer<Float>, _ x: UnsafePointer<Float>, pixels: Int, _ map: NormalizedReLU,
    _ target: ConvolutionInputGradient, offset: Int
  ) {
    guard let mean = target.mean, let sums = target.sums else {
      preconditionFailure("the classifier's input has a batch normalization")
    }
    for c in stride(from: 0, to: channels, by: 8) {
      let (scale, shift) = (SIMD8<Float>(loading: map.scale + c), SIMD8<Float>(loading: map.shift + c))
      let (gradient, means) = (SIMD8<Float>(loading: featureGradient + c), SIMD8<Float>(loading: mean + c))
      var (sum, productSum) = (SIMD8<Float>(), SIMD8<Float>())
      for pixel in 0..<pixels {
        let i = pixel &* channels &+ c
        let value = SIMD8<Float>(loading: x + i)
        let masked = gradient.replacing(with: 0, where: scale * value + shift .<= 0)
        masked.store(to: target.gradient + (offset &+ i))
        sum += masked
        productSum += masked * (value - means)
      }
      for lane in 0..<8 {
        sums[c + lane] += Double(sum[lane])
        sums[channels + c + lane] += Double(productSum[lane])
      }
    }
  }
}

/// Cross entropy of the softmax of a few logits.
enum SoftmaxCrossEntropy {
  /// Returns −Σ t·log softmax(logits) and writes scale · (softmax(logits) − t), with t the target distribution.
  ///
  /// The target is 1 − smoothing for the label plus smoothing / classes for every class (Szegedy et al.,
  /// arXiv 1512.00567, section 7; `label_smoothing` in PyTorch).
  ///
  /// Computed in Double with ``ReproducibleMath``, so its bits are the same on every machine. Logits that are not
  /// finite give NaN.
  static func evaluate(
    _ logits: UnsafePointer<Float>, classes: Int, label: Int, smoothing: Double, scale: Double,
    gradient: UnsafeMutablePointer<Float>
  ) -> Double {
    var maximum = logits[0]
    var isFinite = true
    for k in 0..<classes {
      maximum = max(maximum, logits[k])
      isFinite = isFinite && logits[k].isFinite
    }
    guard isFinite else {
      gradient.update(repeating: .nan, count: classes)
      return .nan
    }
    var sum = 0.0
    for k in 0..<classes { sum += ReproducibleMath.exp(Double(logits[k]) - Double(maximum)) }
    let share = smoothing / Double(classes)
    var mean = 0.0
    for k in 0..<classes {
      let probability = ReproducibleMath.exp(Double(logits[k]) - Double(maximum)) / sum
      gradient[k] = Float(scale * (probability - (k == label ? 1 - smoothing + share : share)))
      mean += Double(logits[k]) - Double(maximum)
    }
    let target = (1 - smoothing) * (Double(logits[label]) - Double(maximum)) + share * mean
    return ReproducibleMath.log(sum) - target
  }

  /// Returns the class of the largest logit, the lowest of several.
  static func prediction(_ logits: UnsafePointer<Float>, classes: Int) -> Int {
    var best = 0
    for k in 1..<classes where logits[k] > logits[best] { best = k }
    return best
  }
}
