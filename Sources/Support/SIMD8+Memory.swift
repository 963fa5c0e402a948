extension SIMD8<Float> {
  /// Loads eight consecutive floats from any address.
  @inlinable @inline(__always)
  public init(loading source: UnsafePointer<Float>) {
    self = UnsafeRawPointer(source).loadUnaligned(as: SIMD8<Float>.self)
  }

  /// Stores the vector as eight consecutive floats at any address.
  @inlinable @inline(__always)
  public func store(to target: UnsafeMutablePointer<Float>) {
    UnsafeMutableRawPointer(target).storeBytes(of: self, as: SIMD8<Float>.self)
  }
}
