import Datasets
import Tensors

/// Images of formulas and the definitions of all preparations, pixel by pixel, for comparison with the pipeline.
enum NaiveImages {
  /// Returns an image of random bytes, `CHW`.
  static func planes(_ number: Int) -> [UInt8] {
    let stream = RandomStream(seed: 77, purpose: "test image", step: UInt64(number))
    return (0..<3072).map { UInt8(stream.integer(UInt64($0), below: 256)) }
  }

  /// The image as rows of pixels of three values, each by a function of channel and byte.
  static func normalize(_ planes: [UInt8], _ value: (Int, UInt8) -> Float) -> [[[Float]]] {
    (0..<32).map { y in (0..<32).map { x in (0..<3).map { c in value(c, planes[1024 * c + 32 * y + x]) } } }
  }

  static func mirror(_ image: [[[Float]]]) -> [[[Float]]] { image.map { $0.reversed() } }

  /// Pads each side, `reflect` without repeating the edge.
  static func pad(_ image: [[[Float]]], _ padding: Int, _ border: CropBorder) -> [[[Float]]] {
    func padList<Element>(_ list: [Element], _ zero: Element) -> [Element] {
      guard border == .reflect else {
        let zeros = [Element](repeating: zero, count: padding)
        return zeros + list + zeros
      }
      let (before, after) = (list.dropFirst().prefix(padding), list.dropLast().suffix(padding))
      return before.reversed() + list + after.reversed()
    }
    let rows = image.map { padList($0, [0, 0, 0]) }
    return padList(rows, [[Float]](repeating: [0, 0, 0], count: 32 + 2 * padding))
  }

  static func window(_ image: [[[Float]]], row: Int, column: Int, size: Int) -> [[[Float]]] {
    image[row..<row + size].map { Array($0[column..<column + size]) }
  }

  static func cutOut(_ image: [[[Float]]], row: Int, column: Int, side: Int) -> [[[Float]]] {
    image.indices.map { y in
      image[y].indices.map { x in
        (row..<row + side).contains(y) && (column..<column + side).contains(x) ? [0, 0, 0] : image[y][x]
      }
    }
  }

  /// The mean over the area of each output pixel, from the definition: an integral of a step function, in Double.
  static func areaMean(_ image: [[[Float]]], size: Int) -> [[[Double]]] {
    let step = 32.0 / Double(size)
    func overlap(_ pixel: Int, _ output: Int) -> Double {
      max(0, min(Double(pixel + 1), Double(output + 1) * step) - max(Double(pixel), Double(output) * step))
    }
    return (0..<size).map { oy in
      (0..<size).map { ox in
        (0..<3).map { c in
          var sum = 0.0
          for y in 0..<32 where overlap(y, oy) > 0 {
            for x in 0..<32 { sum += overlap(y, oy) * overlap(x, ox) * Double(image[y][x][c]) }
          }
          return sum / (step * step)
        }
      }
    }
  }

  static func flatten<Value>(_ image: [[[Value]]]) -> [Value] { image.flatMap { $0.flatMap(\.self) } }

  /// What a pipeline makes of a training image.
  static func prepared(
    _ pipeline: ImagePipeline, _ planes: [UInt8], epoch: Int, sample: Int, size: Int = 32
  ) -> [Float] {
    let output = AlignedBuffer<Float>(count: size * size * 3)
    planes.withUnsafeBufferPointer { planes in
      guard let start = planes.baseAddress else { return }
      pipeline.prepareTraining(.planes(start), epoch: epoch, sample: sample, size: size, into: output.pointer)
    }
    return Array(output.elements)
  }

  /// What a pipeline makes of a test image.
  static func tested(
    _ pipeline: ImagePipeline, _ planes: [UInt8], size: Int = 32, view: ImageView = ImageView()
  ) -> [Float] {
    let output = AlignedBuffer<Float>(count: size * size * 3)
    planes.withUnsafeBufferPointer { planes in
      guard let start = planes.baseAddress else { return }
      pipeline.prepareTest(.planes(start), size: size, view: view, into: output.pointer)
    }
    return Array(output.elements)
  }
}
