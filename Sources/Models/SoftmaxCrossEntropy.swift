import Tensors

/// Cross entropy of the softmax of a few logits.
enum SoftmaxCrossEntropy {
  /// Returns −log softmax(logits)[label] and writes scale · (softmax(logits) − onehot(label)).
  ///
  /// Computed in Double with ``ElementaryFunctions``, so its bits are the same on every machine. Logits that are not
  /// finite give NaN.
  static func evaluate(
    _ logits: UnsafePointer<Float>, classes: Int, label: Int, scale: Double,
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
    for k in 0..<classes { sum += ElementaryFunctions.exp(Double(logits[k]) - Double(maximum)) }
    for k in 0..<classes {
      let probability = ElementaryFunctions.exp(Double(logits[k]) - Double(maximum)) / sum
      gradient[k] = Float(scale * (probability - (k == label ? 1 : 0)))
    }
    return ElementaryFunctions.log(sum) - (Double(logits[label]) - Double(maximum))
  }

  /// Returns the class of the largest logit, the lowest of several.
  static func prediction(_ logits: UnsafePointer<Float>, classes: Int) -> Int {
    var best = 0
    for k in 1..<classes where logits[k] > logits[best] { best = k }
    return best
  }
}
