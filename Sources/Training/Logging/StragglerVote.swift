/// The rank that computes clearly longer than the others in most steps of a window, if there is one.
///
/// One vote per step elects it (Boyer and Moore's majority vote), so the window needs no memory per rank.
package struct StragglerVote {
  /// The least ratio to the median that counts as slow.
  static let slowRatio = 1.25
  /// The least number of steps of a verdict.
  private static let minimumSteps = 3

  private var rank = 0
  private var lead = 0
  private var (steps, ratioSum) = (0, 0.0)

  /// Creates a vote of no steps.
  package init() {}

  /// Records the slowest rank of a step.
  package mutating func record(_ straggler: ComputeTimes.Straggler) {
    let isSlow = straggler.ratio >= Self.slowRatio
    // A rank that is elected again keeps its steps: it may be slow in most of the window, with a pause between.
    if lead == 0, isSlow, straggler.rank != rank { (rank, steps, ratioSum) = (straggler.rank, 0, 0) }
    guard isSlow && straggler.rank == rank else {
      lead = max(0, lead - 1)
      return
    }
    lead += 1
    steps += 1
    ratioSum += straggler.ratio
  }

  /// Returns the rank and its mean ratio to the median; `nil` if no rank was slow in half of the window's steps.
  package func result(steps all: Int) -> (rank: Int, ratio: Double)? {
    guard steps >= Self.minimumSteps, 2 * steps >= all else { return nil }
    return (rank, ratioSum / Double(steps))
  }
}
