// Inlined into callers of other modules: a call per vector would cost more than the load or store.
extension SIMD8<Float> {
  /// Loads eight consecutive floats; `source` needs no vector alignment.
  @inlinable @inline(__always)
  public init(loading source: UnsafePointer<Float>) {
    self = UnsafeRawPointer(source).loadUnaligned(as: SIMD8<Float>.self)
  }

  /// Stores the vector as eight consecutive floats; `target` needs no vector alignment.
  @inlinable @inline(__always)
  public func store(to target: UnsafeMutablePointer<Float>) {
    UnsafeMutableRawPointer(target).storeBytes(of: self, as: SIMD8<Float>.self)
  }
}
