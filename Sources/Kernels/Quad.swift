/// Four vectors that a pass works on at once.
///
/// Named, not an array: a loop over an array that is not unrolled keeps it in memory and copies it at every turn.
struct Quad {
  var a: Vector
  var b: Vector
  var c: Vector
  var d: Vector

  /// Zeros.
  @inline(__always) init() { self.init(Vector(), Vector(), Vector(), Vector()) }

  @inline(__always) init(_ a: Vector, _ b: Vector, _ c: Vector, _ d: Vector) {
    (self.a, self.b, self.c, self.d) = (a, b, c, d)
  }

  /// Loads the four vectors of a group of pixels.
  @inline(__always) init(_ source: UnsafePointer<Float>, _ offsets: QuadOffsets) {
    a = (source + offsets.a).vector
    b = (source + offsets.b).vector
    c = (source + offsets.c).vector
    d = (source + offsets.d).vector
  }

  /// Stores the four vectors of a group of pixels.
  @inline(__always) func store(_ target: UnsafeMutablePointer<Float>, _ offsets: QuadOffsets) {
    (target + offsets.a).store(a)
    (target + offsets.b).store(b)
    (target + offsets.c).store(c)
    (target + offsets.d).store(d)
  }

  /// self + x·y, rounded once.
  @inline(__always) func addingProduct(_ x: Quad, _ y: Quad) -> Quad {
    Quad(
      a.addingProduct(x.a, y.a), b.addingProduct(x.b, y.b), c.addingProduct(x.c, y.c),
      d.addingProduct(x.d, y.d))
  }

  @inline(__always) static func + (x: Quad, y: Quad) -> Quad {
    Quad(x.a + y.a, x.b + y.b, x.c + y.c, x.d + y.d)
  }

  @inline(__always) static func - (x: Quad, y: Quad) -> Quad {
    Quad(x.a - y.a, x.b - y.b, x.c - y.c, x.d - y.d)
  }

  /// max(0, x), and NaN for NaN, which `pointwiseMax` would hide: a run that has diverged must show it.
  @inline(__always) var rectified: Quad { passed(where: self) }

  /// The lanes that a rectifier of `argument` lets through, zero elsewhere.
  @inline(__always) func passed(where argument: Quad) -> Quad {
    Quad(
      a.replacing(with: 0, where: argument.a .<= 0), b.replacing(with: 0, where: argument.b .<= 0),
      c.replacing(with: 0, where: argument.c .<= 0), d.replacing(with: 0, where: argument.d .<= 0))
  }
}

/// Where the four vectors of a group of pixels lie.
struct QuadOffsets {
  let a: Int
  let b: Int
  let c: Int
  let d: Int
}
