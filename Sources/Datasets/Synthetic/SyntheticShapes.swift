import Tensors

// The parts of a synthetic image and the source of their random numbers. Every part takes its numbers from the cursor in
// the order of its initializer, so this order decides the bytes of the dataset.

/// A background whose color changes linearly across the image.
struct ColorGradient {
  /// The color at the upper left.
  let start: SIMD4<Double>
  private let change: SIMD4<Double>
  private let weightX: Double
  private let weightY: Double

  init(_ random: inout RandomCursor) {
    start = random.color() * SIMD4(repeating: 0.6)
    change = random.color() * SIMD4(repeating: 0.6) - start
    weightX = random.number(0, 0.5) / 31
    weightY = random.number(0, 0.5) / 31
  }

  /// Returns the color of a pixel.
  func color(_ x: Double, _ y: Double) -> SIMD4<Double> {
    let position = weightX * x + weightY * y
    return start + change * SIMD4(repeating: position)
  }
}

/// A small disc of clutter, unrelated to the class.
struct Spot {
  let color: SIMD4<Double>
  private let x: Double
  private let y: Double
  private let squaredRadius: Double

  init(_ random: inout RandomCursor) {
    color = random.color()
    x = random.number(0, 32)
    y = random.number(0, 32)
    let radius = random.number(1, 3.5)
    squaredRadius = radius * radius
  }

  func covers(_ px: Double, _ py: Double) -> Bool {
    let (dx, dy) = (px - x, py - y)
    return dx * dx + dy * dy <= squaredRadius
  }
}

/// A thin straight bar across the image that occludes part of the figure.
struct Bar {
  let color: SIMD4<Double>
  private let normal: (x: Double, y: Double)
  private let offset: Double
  private let halfWidth: Double

  init(_ random: inout RandomCursor) {
    color = random.color()
    normal = random.direction()
    let (x, y) = (random.number(6, 26), random.number(6, 26))
    offset = normal.x * x + normal.y * y
    halfWidth = random.number(0, 2)
  }

  func covers(_ px: Double, _ py: Double) -> Bool {
    let distance = normal.x * px + normal.y * py - offset
    return distance <= halfWidth && distance >= -halfWidth
  }
}

/// The shape of an image's class, defined in rotated and scaled coordinates u and v from −1 to 1.
struct Figure {
  /// The shapes, in the order of their numbers.
  static let names = [
    "disc", "ring", "square", "triangle", "cross", "stripes", "checkerboard", "dots", "target",
    "half-moon",
  ]

  private let baseColor: SIMD4<Double>
  private let style: FigureStyle
  private let x: Double
  private let y: Double
  private let radius: Double
  private let axis: (x: Double, y: Double)

  init(_ style: FigureStyle, _ random: inout RandomCursor) {
    self.style = style
    let color = random.color()
    if let tint = style.tint {
      baseColor = color * SIMD4(repeating: 0.25) + tint.color * SIMD4(repeating: 0.75)
    } else {
      // Lighter than most backgrounds, though sometimes only slightly.
      baseColor = color * SIMD4(repeating: 0.5) + SIMD4(repeating: 127)
    }
    x = random.number(11, 21)
    y = random.number(11, 21)
    radius = random.number(6, 11)
    axis = random.direction()
  }

  /// Returns the color of a pixel that the figure covers.
  func color(_ x: Int, _ y: Int) -> SIMD4<Double> {
    let isDark = style.texture == .speckled && (x >> 1 ^ y >> 1) & 1 == 1
    return isDark ? baseColor * SIMD4(repeating: 0.4) : baseColor
  }

  func covers(_ px: Double, _ py: Double) -> Bool {
    let (dx, dy) = ((px - x) / radius, (py - y) / radius)
    let u = axis.x * dx + axis.y * dy
    let v = axis.x * dy - axis.y * dx
    let square = u * u + v * v
    let (au, av) = (u < 0 ? -u : u, v < 0 ? -v : v)
    switch style.shape {
    case 0: return square <= 0.8
    case 1: return square <= 1 && square >= 0.4
    case 2: return au <= 0.8 && av <= 0.8
    case 3: return v >= -0.7 && 2 * au <= 0.9 - v
    case 4: return (au <= 0.28 && av <= 1) || (av <= 0.28 && au <= 1)
    case 5: return square <= 1 && isEven(u * 2.5)
    case 6: return square <= 1 && isEven(u * 2) == isEven(v * 2)
    case 7: return square <= 1 && dot(u) * dot(u) + dot(v) * dot(v) <= 0.09
    case 8: return square <= 1 && isEven(square.squareRoot() * 3.5)
    default: return square <= 0.9 && u >= 0.1
    }
  }

  private func isEven(_ value: Double) -> Bool { Int(value.rounded(.down)) & 1 == 0 }

  /// Returns the signed distance to the center of the nearest dot of a row, in cell widths.
  private func dot(_ value: Double) -> Double {
    let scaled = value * 1.6
    return scaled - scaled.rounded(.down) - 0.5
  }
}

/// A cursor over a random stream, which returns its numbers in order.
struct RandomCursor {
  private let stream: RandomStream
  private var index: UInt64 = 0

  init(_ stream: RandomStream) { self.stream = stream }

  /// Returns an integer in 0 ..< `bound`.
  mutating func integer(below bound: Int) -> Int {
    defer { index += 1 }
    return stream.integer(index, below: bound)
  }

  /// Returns a number in [low, high).
  mutating func number(_ low: Double, _ high: Double) -> Double {
    defer { index += 1 }
    return low + (high - low) * stream.uniform(index)
  }

  /// Returns a color: red, green and blue as integers 0 … 255.
  mutating func color() -> SIMD4<Double> {
    let (r, g, b) = (integer(below: 256), integer(below: 256), integer(below: 256))
    return SIMD4(Double(r), Double(g), Double(b), 0)
  }

  /// Returns a random unit vector: a point of the unit disc, found by rejection and scaled to length 1.
  mutating func direction() -> (x: Double, y: Double) {
    while true {
      let (x, y) = (number(-1, 1), number(-1, 1))
      let square = x * x + y * y
      if square > 0.01 && square <= 1 {
        let length = square.squareRoot()
        return (x / length, y / length)
      }
    }
  }
}
