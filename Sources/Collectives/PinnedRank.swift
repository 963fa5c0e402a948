/// Finds ranks that were bound to fewer cores than the threads they were asked to run.
///
/// Open MPI binds each rank of `mpirun -np 1` and `-np 2` to a single core unless told otherwise;
/// all threads of a rank then take turns on that core.
public enum PinnedRank {
  /// Compares the threads asked for with the cores allowed.
  ///
  /// More threads than cores on a whole, unrestricted machine is the user's own choice and fine.
  ///
  /// - Parameters:
  ///   - rank: The rank, for the sentence.
  ///   - threadCount: The threads asked for.
  ///   - usableCoreCount: The cores that this rank may use.
  ///   - onlineCoreCount: The cores of the host.
  /// - Returns: One sentence with the remedy (exit code 64), or nil.
  public static func problem(
    rank: Int, threadCount: Int, usableCoreCount: Int, onlineCoreCount: Int
  ) -> String? {
    guard usableCoreCount < onlineCoreCount, threadCount > usableCoreCount else { return nil }
    let cores = usableCoreCount == 1 ? "1 core" : "\(usableCoreCount) cores"
    return
      "Rank \(rank) is bound to \(cores) of \(onlineCoreCount) but --threads \(threadCount) asks "
      + "for more: start it with mpirun --bind-to none or mpirun --map-by slot:PE=\(threadCount) "
      + "--bind-to core, or lower --threads to \(usableCoreCount)."
  }
}
