import Datasets
import Tensors
import Testing

/// Whitening with given numbers, element by element in Double.
@Suite struct ZCAWhiteningTests {
  private static let mean: [Float] = (0..<3072).map { Float($0 % 17) / 16 - 0.5 }
  private static let matrix: [Float] = {
    let stream = RandomStream(seed: 1, purpose: "test matrix")
    return (0..<3072 * 3072).map { Float(stream.uniform(UInt64($0))) - 0.5 }
  }()

  @Test func numbersAreKept() throws {
    let whitening = try ZCAWhitening(mean: Self.mean, matrix: Self.matrix)
    #expect(whitening.mean == Self.mean)
    #expect(whitening.matrix == Self.matrix)
  }

  @Test func numbersAreChecked() {
    #expect(throws: DatasetError.self) { try ZCAWhitening(mean: [1], matrix: Self.matrix) }
    #expect(throws: DatasetError.self) { try ZCAWhitening(mean: Self.mean, matrix: [1]) }
    var matrix = Self.matrix
    matrix[5] = .nan
    #expect(throws: DatasetError.self) { try ZCAWhitening(mean: Self.mean, matrix: matrix) }
  }

  /// The definition in Double; the bound is that of a sum of 3,072 rounded terms.
  @Test func everyOutputOfSeveralImages() throws {
    let whitening = try ZCAWhitening(mean: Self.mean, matrix: Self.matrix)
    let output = AlignedBuffer<Float>(count: 3072)
    for number in 0..<3 {
      var planes = NaiveImages.planes(number)
      // An image of one color has no contrast to normalize.
      if number == 2 { planes = [UInt8](repeating: 9, count: 3072) }
      let hwc = (0..<3072).map { Double(planes[$0 % 3 * 1024 + $0 / 3]) }
      let imageMean = hwc.reduce(0, +) / 3072
      let norm = hwc.reduce(0) { $0 + ($1 - imageMean) * ($1 - imageMean) }.squareRoot()
      let centered = hwc.indices.map { i in
        (norm == 0 ? 0 : 55 * (hwc[i] - imageMean) / norm) - Double(Self.mean[i])
      }
      planes.withUnsafeBufferPointer { planes in
        if let start = planes.baseAddress { whitening.apply(to: start, into: output.pointer) }
      }
      var sums = [Double](repeating: 0, count: 3072)
      var bounds = [Double](repeating: 0, count: 3072)
      for i in 0..<3072 {
        for o in 0..<3072 {
          let term = centered[i] * Double(Self.matrix[3072 * i + o])
          sums[o] += term
          bounds[o] += abs(term)
        }
      }
      for o in 0..<3072 { #expect(abs(Double(output.elements[o]) - sums[o]) <= 1e-6 * bounds[o], "output \(o)") }
    }
  }

  /// Images that are whitened together get the bits of one alone: in blocks of four, and the rest.
  @Test func whitenedSplitsAreBitwiseEqual() throws {
    let whitening = try ZCAWhitening(mean: Self.mean, matrix: Self.matrix)
    let split = SyntheticDataset.dataset().test.holdingOut(2000 - 71).training
    let whitened = try split.whitened(by: whitening) { count, body in
      #expect(count == 2)
      for item in (0..<count).reversed() { body(item) }
    }
    #expect(whitened.count == 71)
    let augmentation = Augmentation(cropPadding: 4, cropBorder: .zero, flip: .random, cutout: 5)
    let pipeline = ImagePipeline(normalization: .zca(whitening), augmentation: augmentation, seed: 3)
    let (a, b) = (AlignedBuffer<Float>(count: 3072), AlignedBuffer<Float>(count: 3072))
    for index in 0..<71 {
      #expect(
        try pipeline.readTraining(split, at: index, epoch: 2, into: a.pointer)
          == pipeline.readTraining(whitened, at: index, epoch: 2, into: b.pointer))
      #expect(a.elements.elementsEqual(b.elements), "image \(index)")
      #expect(
        try pipeline.readTest(split, at: index, size: 16, into: a.pointer)
          == pipeline.readTest(whitened, at: index, size: 16, into: b.pointer))
      #expect(a.elements.elementsEqual(b.elements), "image \(index)")
    }
    // A whitened image is the one that the definition gives, and is augmented like any other.
    _ = try split.withImage(at: 70) { _, image in
      guard case .planes(let planes) = image else { return }
      whitening.apply(to: planes, into: a.pointer)
    }
    _ = try pipeline.readTest(whitened, at: 70, into: b.pointer)
    #expect(a.elements.elementsEqual(b.elements))
  }
}
