import CHints
import Tensors

/// Adds the time since the last lap to a phase, or does nothing if no benchmark asks for it.
///
/// A training step does not ask, and pays one predicted branch per phase and tile block, of which each takes tens of µs.
struct PhaseClock {
  private let counts: UnsafeMutablePointer<UInt64>?
  private var last: UInt64 = 0

  /// Starts a clock; if `ticks` is `nil`, it does nothing.
  @inline(__always)
  init(_ ticks: PhaseTicks?) {
    counts = ticks?.counts
    if counts != nil { last = CHints_ticks() }
  }

  /// Ends a phase, and starts the next one.
  @inline(__always)
  mutating func lap(_ phase: ConvolutionPhase) {
    guard let counts else { return }
    let now = CHints_ticks()
    counts[phase.rawValue] &+= now &- last
    last = now
  }
}
