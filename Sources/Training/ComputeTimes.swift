import Tensors

/// The time that each rank computed in the step before, which tells a slow rank from those that wait for it.
///
/// The times are sent with the step's summary, so they cost no message. Nothing is allocated after the start.
public final class ComputeTimes {
  /// The rank that computed longest.
  public struct Straggler: Hashable, Sendable {
    /// The rank; the lowest of several.
    public let rank: Int
    /// The seconds that it computed, without waiting.
    public let seconds: Double
    /// The median of all ranks; the lower of two in the middle.
    public let medianSeconds: Double

    /// Describes a rank.
    public init(rank: Int, seconds: Double, medianSeconds: Double) {
      self.rank = rank
      self.seconds = seconds
      self.medianSeconds = medianSeconds
    }

    /// How often as long as the median the rank computed.
    public var ratio: Double { seconds / medianSeconds }
  }

  /// This rank's seconds of its last step; 0 before the first.
  var own = 0.0
  private let worldSize: Int
  private let times: AlignedBuffer<Double>

  /// Allocates room for the times of all ranks.
  package init(worldSize: Int) {
    self.worldSize = worldSize
    times = AlignedBuffer(count: worldSize)
  }

  /// The bytes of the times.
  var byteCount: Int { times.byteCount }

  /// Finds the slowest rank.
  ///
  /// - Parameter seconds: Returns the seconds of a rank; 0 if they are not known.
  /// - Returns: The slowest rank; `nil` with one rank, or if a time is not known.
  package func straggler(_ seconds: (Int) -> Double) -> Straggler? {
    guard worldSize > 1 else { return nil }
    var slowest = 0
    for rank in 0..<worldSize {
      let time = seconds(rank)
      guard time > 0 else { return nil }
      times.pointer[rank] = time
      if time > times.pointer[slowest] { slowest = rank }
    }
    let longest = times.pointer[slowest]
    return Straggler(rank: slowest, seconds: longest, medianSeconds: select((worldSize - 1) / 2))
  }

  /// Returns the time with an index in ascending order (Hoare's selection), and reorders the times.
  private func select(_ index: Int) -> Double {
    var (low, high) = (0, worldSize - 1)
    let values = times.pointer
    while low < high {
      let pivot = values[(low + high) / 2]
      var (i, j) = (low, high)
      while i <= j {
        while values[i] < pivot { i += 1 }
        while values[j] > pivot { j -= 1 }
        if i <= j {
          (values[i], values[j]) = (values[j], values[i])
          i += 1
          j -= 1
        }
      }
      if index <= j {
        high = j
      } else if index >= i {
        low = i
      } else {
        break
      }
    }
    return values[index]
  }
}
