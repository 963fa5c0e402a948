import Foundation
import Tensors

/// The images of a synthetic training or test set.
///
/// Only the shape, and for CIFAR-100 the texture and color of the figure, depend on the class. Position, size, rotation,
/// background, clutter, an occluding bar and noise are random. Each image is a pure function of (seed, split, index),
/// computed with IEEE 754 basic operations and square roots only, so one seed gives the same bytes on every machine.
struct SyntheticSplit: Sendable {
  /// The format and the classes.
  let kind: DatasetKind
  /// The number of images.
  let count: Int
  private let seed: UInt64
  private let purpose: String

  /// Creates a split of `count` images, `training` or `test`.
  init(kind: DatasetKind, seed: UInt64, split: String, count: Int) {
    self.kind = kind
    self.seed = seed
    self.count = count
    purpose = kind == .cifar10 ? "synthetic \(split) image" : "synthetic \(kind.title) \(split) image"
  }

  /// The identity of the split, for example `synthetic training image, seed 0`.
  var name: String { "\(purpose), seed \(seed)" }

  /// Generates record `index`: the labels, then red, green and blue planes of 32×32 bytes.
  func generate(_ index: Int, into record: UnsafeMutableRawBufferPointer) {
    var random = RandomCursor(RandomStream(seed: seed, purpose: purpose, step: UInt64(index)))
    let label = random.integer(below: kind.classCount)
    let style = FigureStyle(label, kind)
    let background = ColorGradient(&random)
    let clutter: InlineArray<3, Spot> = [Spot(&random), Spot(&random), Spot(&random)]
    let figure = Figure(style, &random)
    let bar = Bar(&random)
    let noise = 6 + random.integer(below: 44)
    record[kind.labelByteCount - 1] = UInt8(label)
    if kind.coarseClassCount > 0 { record[0] = UInt8(style.coarseLabel) }
    for y in 0..<32 {
      for x in 0..<32 {
        let (px, py) = (Double(x), Double(y))
        var color = background.color(px, py)
        for i in clutter.indices where clutter[i].covers(px, py) { color = clutter[i].color }
        if figure.covers(px, py) { color = figure.color(x, y) }
        if bar.covers(px, py) { color = bar.color }
        for c in 0..<3 {
          let value = color[c] + Double(random.integer(below: 2 * noise + 1) - noise)
          record[kind.labelByteCount + 1024 * c + 32 * y + x] = UInt8(max(0, min(255, value)))
        }
      }
    }
  }

  /// Returns a range of records, concatenated.
  func records(_ range: Range<Int>) -> Data {
    var data = Data(count: range.count * kind.recordByteCount)
    data.withUnsafeMutableBytes { bytes in
      for (i, index) in range.enumerated() {
        let start = i * kind.recordByteCount
        generate(index, into: UnsafeMutableRawBufferPointer(rebasing: bytes[start..<start + kind.recordByteCount]))
      }
    }
    return data
  }
}

/// The part of an image that depends on its class: ten shapes, and for CIFAR-100 two textures and five colors.
struct FigureStyle {
  /// The shape, in 0 ..< 10.
  let shape: Int
  /// The texture.
  let texture: Texture
  /// The color; `nil` if it is random.
  let tint: Tint?

  /// Creates the style of a class: colors vary fastest, then textures, then shapes.
  init(_ label: Int, _ kind: DatasetKind) {
    guard kind == .cifar100 else {
      (shape, texture, tint) = (label, .plain, nil)
      return
    }
    let tints = Tint.allCases
    let textures = Texture.allCases
    tint = tints[label % tints.count]
    texture = textures[label / tints.count % textures.count]
    shape = label / (tints.count * textures.count)
  }

  /// The label of shape and texture, in 0 ..< 20.
  var coarseLabel: Int { Texture.allCases.count * shape + (texture == .plain ? 0 : 1) }
}

/// The textures of figures.
enum Texture: String, CaseIterable {
  /// One color.
  case plain
  /// A checkerboard of 2 × 2 pixels, of which every other is dark.
  case speckled
}

/// The colors of figures.
enum Tint: String, CaseIterable {
  case red, yellow, green, blue, violet

  /// Red, green and blue, 0 … 255.
  var color: SIMD4<Double> {
    switch self {
    case .red: SIMD4(230, 40, 40, 0)
    case .yellow: SIMD4(230, 220, 50, 0)
    case .green: SIMD4(50, 200, 60, 0)
    case .blue: SIMD4(60, 90, 240, 0)
    case .violet: SIMD4(210, 70, 220, 0)
    }
  }
}
