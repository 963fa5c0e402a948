/// Small runs of recipes, a second each, with everything that is random in them.
enum Recipes {
  private static let small = ["--depth", "10", "--widen-factor", "1", "--batch-size", "16", "--microbatches", "8"]

  /// The paper's recipe with dropout; epochs of six steps, so that a run of seven meets two permutations.
  static let paper =
    ["--recipe", "paper", "--dropout", "0.3", "--cutout", "8", "--validation", "9900", "--checkpoint-every", "0"]
    + small

  /// The fast recipe: 16 pixels for half of the run, then 32.
  static let fast = ["--recipe", "fast", "--resolution", "16@0,32@0.5", "--checkpoint-every", "0"] + small
}
