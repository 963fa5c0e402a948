import TestSupport
import Testing

/// One seed gives bitwise identical parameters for every number of ranks and threads.
@Suite struct BitwiseReproducibilityTests {
  private static let layouts = [(1, 2), (2, 1), (2, 2), (3, 1), (3, 2), (4, 1), (4, 2)]

  /// Trains on one rank and thread, then in every other layout, and compares digests and metrics.
  private func check(_ flags: [String], layouts: [(ranks: Int, threads: Int)]) throws {
    let folder = try TemporaryDirectory()
    let flags = flags + ["--eval-every", "3", "--eval-batches", "5"]
    try Job.training(folder, output: "alone", flags + ["--threads", "1"]).succeed()
    let digest = try folder.digest("alone")
    let metrics = folder.metrics("alone")
    #expect(metrics.filter { $0.contains(#""kind":"eval""#) }.count >= 2)
    for (ranks, threads) in layouts {
      let run = "ranks-\(ranks)-threads-\(threads)"
      try Job.training(folder, ranks: ranks, output: run, flags + ["--threads", "\(threads)"])
        .succeed()
      #expect(try folder.digest(run) == digest, "\(run)")
      #expect(folder.metrics(run) == metrics, "\(run)")
    }
  }

  @Test func eightMicrobatches() throws {
    try check(["--steps", "6"], layouts: [(1, 1)] + Self.layouts)
  }

  @Test func aNumberOfMicrobatchesThatRanksDoNotDivide() throws {
    try check(
      ["--steps", "4", "--batch-size", "21", "--microbatches", "7"], layouts: [(2, 2), (3, 1), (4, 1)])
  }

  @Test func ghostBatchNorm() throws {
    try check(["--steps", "4", "--batch-norm", "microbatch"], layouts: [(2, 2), (3, 1)])
  }

  @Test func theFullModel() throws {
    try check(
      ["--steps", "3", "--depth", "22", "--widen-factor", "2"], layouts: [(1, 2), (2, 1), (3, 1), (4, 1)])
  }

  /// Dropout, crops, flips and cutouts are functions of seed, epoch and sample.
  @Test func thePaperWithDropout() throws {
    try check(Recipes.paper + ["--steps", "5"], layouts: Self.layouts)
  }

  /// The size of images changes after step 3, and an average of the weights is evaluated.
  @Test func theFastRecipeWithAChangeOfSize() throws {
    try check(Recipes.fast + ["--steps", "6"], layouts: Self.layouts)
  }

  @Test func clippedGradients() throws {
    let flags = ["--steps", "4", "--clip-norm", "0.5", "--optimizer-state"]
    try check(flags + ["sharded"], layouts: [(2, 2), (3, 1)])
    try check(flags + ["replicated"], layouts: [(2, 1), (4, 1)])
  }

  /// Bucket size, progress mode and sharding affect speed and memory, but not results.
  @Test(arguments: [
    (2, ["--bucket-size", "64KiB", "--threads", "2"]),
    (3, ["--bucket-size", "4KiB", "--optimizer-state", "replicated"]),
    (4, ["--bucket-size", "100000", "--progress", "thread"]),
    (2, ["--progress", "thread", "--optimizer-state", "replicated", "--threads", "2"]),
    (5, ["--bucket-size", "16KiB"]), (8, []),
  ])
  func settingsThatDoNotAffectResults(ranks: Int, knobs: [String]) throws {
    let folder = try TemporaryDirectory()
    let flags = ["--steps", "4", "--eval-every", "2", "--eval-batches", "3"]
    try Job.training(folder, output: "alone", flags + ["--threads", "1"]).succeed()
    try Job.training(folder, ranks: ranks, output: "ranks", flags + ["--threads", "1"] + knobs).succeed()
    #expect(try folder.digest("ranks") == folder.digest("alone"))
    #expect(folder.metrics("ranks") == folder.metrics("alone"))
  }

  /// The same for SGD with dropout, and for a run whose images change their size.
  @Test(arguments: [
    (2, ["--bucket-size", "4KiB"]), (3, ["--bucket-size", "64KiB", "--progress", "thread"]),
    (4, ["--bucket-size", "100000", "--optimizer-state", "replicated"]),
  ])
  func settingsThatDoNotAffectTheRecipes(ranks: Int, knobs: [String]) throws {
    let folder = try TemporaryDirectory()
    for (name, recipe) in [("paper", Recipes.paper), ("fast", Recipes.fast)] {
      let flags = recipe + ["--steps", "6", "--eval-every", "3", "--eval-batches", "3", "--threads", "1"]
      try Job.training(folder, output: name, flags).succeed()
      try Job.training(folder, ranks: ranks, output: "ranks-\(name)", flags + knobs).succeed()
      #expect(try folder.digest("ranks-\(name)") == folder.digest(name), "\(name)")
      #expect(folder.metrics("ranks-\(name)") == folder.metrics(name), "\(name)")
    }
  }

  /// Hosts that are only pretended exchange in two stages all the same.
  @Test(arguments: [(4, 2, []), (6, 3, ["--optimizer-state", "replicated"]), (8, 2, ["--progress", "thread"])])
  func severalHosts(ranks: Int, ranksPerHost: Int, knobs: [String]) throws {
    let folder = try TemporaryDirectory()
    let flags = ["--steps", "3", "--threads", "1"]
    try Job.training(folder, output: "alone", flags).succeed()
    var job = Job.training(folder, ranks: ranks, output: "hosts", flags + ["--bucket-size", "64KiB"] + knobs)
    job.environment = ["WRN_RANKS_PER_HOST": "\(ranksPerHost)"]
    try job.succeed()
    #expect(try folder.digest("hosts") == folder.digest("alone"))
    #expect(folder.metrics("hosts") == folder.metrics("alone"))
  }

  /// Gradients that are rounded on their way are rounded alike by every number of ranks, one among them.
  @Test func roundedGradients() throws {
    let folder = try TemporaryDirectory()
    let flags = ["--steps", "3", "--microbatches", "16", "--wire"]
    try Job.training(folder, output: "whole", flags + ["fp32"]).succeed()
    try Job.training(folder, output: "alone", flags + ["bf16", "--threads", "1"]).succeed()
    let digest = try folder.digest("alone")
    #expect(try folder.digest("whole") != digest)
    // With 16 threads each microbatch is a work item; otherwise items of 8×8 pixels have several and sum pairs.
    for (ranks, ranksPerHost, threads) in [(1, 1, 2), (1, 1, 16), (2, 1, 1), (4, 2, 2), (8, 8, 1)] {
      let run = "ranks-\(ranks)-\(threads)"
      var job = Job.training(folder, ranks: ranks, output: run, flags + ["bf16", "--threads", "\(threads)"])
      job.environment = ["WRN_RANKS_PER_HOST": "\(ranksPerHost)"]
      try job.succeed()
      #expect(try folder.digest(run) == digest, "\(run)")
      #expect(folder.metrics(run) == folder.metrics("alone"), "\(run)")
    }
  }

  @Test func evaluationOnTheRootAlone() throws {
    try check(["--steps", "3", "--eval-ranks", "root"], layouts: [(3, 1)])
  }

  @Test func openBLASThreadsDoNotMatter() throws {
    let folder = try TemporaryDirectory()
    var digests: Set<String> = []
    for count in ["1", "2", "5"] {
      var job = Job.training(folder, output: count, ["--steps", "3", "--threads", "2"])
      job.environment = ["OPENBLAS_NUM_THREADS": count]
      try job.succeed()
      digests.insert(try folder.digest(count))
    }
    #expect(digests.count == 1)
  }

  @Test func anotherSeedGivesOtherBits() throws {
    let folder = try TemporaryDirectory()
    try Job.training(folder, output: "a", ["--steps", "1"]).succeed()
    try Job.training(folder, output: "b", ["--steps", "1", "--seed", "1"]).succeed()
    #expect(try folder.digest("a") != folder.digest("b"))
  }
}
