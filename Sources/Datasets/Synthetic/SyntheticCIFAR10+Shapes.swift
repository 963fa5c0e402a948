/// A background that changes from one colour to another across the image.
struct Gradient {
  /// The colour at the upper left.
  let start: SIMD4<Double>
  private let change: SIMD4<Double>
  private let weightX: Double
  private let weightY: Double

  init(_ draws: inout RandomCursor) {
    start = draws.color() * SIMD4(repeating: 0.6)
    change = draws.color() * SIMD4(repeating: 0.6) - start
    weightX = draws.number(0, 0.5) / 31
    weightY = draws.number(0, 0.5) / 31
  }

  /// The colour at a pixel.
  func color(_ x: Double, _ y: Double) -> SIMD4<Double> {
    let position = weightX * x + weightY * y
    return start + change * SIMD4(repeating: position)
  }
}

/// A small disc that means nothing.
struct Spot {
  let color: SIMD4<Double>
  private let x: Double
  private let y: Double
  private let squaredRadius: Double

  init(_ draws: inout RandomCursor) {
    color = draws.color()
    x = draws.number(0, 32)
    y = draws.number(0, 32)
    let radius = draws.number(1, 3.5)
    squaredRadius = radius * radius
  }

  func covers(_ px: Double, _ py: Double) -> Bool {
    let (dx, dy) = (px - x, py - y)
    return dx * dx + dy * dy <= squaredRadius
  }
}

/// A thin straight bar across the image that hides a part of the figure.
struct Bar {
  let color: SIMD4<Double>
  private let normal: (x: Double, y: Double)
  private let offset: Double
  private let halfWidth: Double

  init(_ draws: inout RandomCursor) {
    color = draws.color()
    normal = draws.direction()
    let (x, y) = (draws.number(6, 26), draws.number(6, 26))
    offset = normal.x * x + normal.y * y
    halfWidth = draws.number(0, 2)
  }

  func covers(_ px: Double, _ py: Double) -> Bool {
    let distance = normal.x * px + normal.y * py - offset
    return distance <= halfWidth && distance >= -halfWidth
  }
}

/// The form that decides an image's class, in a frame of its own: u and v in −1…1.
struct Figure {
  let color: SIMD4<Double>
  private let label: Int
  private let x: Double
  private let y: Double
  private let radius: Double
  private let axis: (x: Double, y: Double)

  init(_ label: Int, _ draws: inout RandomCursor) {
    self.label = label
    // Lighter than most backgrounds, now and then only just.
    color = draws.color() * SIMD4(repeating: 0.5) + SIMD4(repeating: 127)
    x = draws.number(11, 21)
    y = draws.number(11, 21)
    radius = draws.number(6, 11)
    axis = draws.direction()
  }

  func covers(_ px: Double, _ py: Double) -> Bool {
    let (dx, dy) = ((px - x) / radius, (py - y) / radius)
    let u = axis.x * dx + axis.y * dy
    let v = axis.x * dy - axis.y * dx
    let square = u * u + v * v
    let (au, av) = (u < 0 ? -u : u, v < 0 ? -v : v)
    switch label {
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

  /// The distance to the centre of the nearest of a row of dots, in widths of a cell.
  private func dot(_ value: Double) -> Double {
    let scaled = value * 1.6
    return scaled - scaled.rounded(.down) - 0.5
  }
}
