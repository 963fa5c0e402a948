import Foundation
import Optimizers
import Tensors
import Testing

/// SGD, averaging, clipping and multipliers against runs of PyTorch in float64.
@Suite struct SGDTests {
  /// One run of `sgd.txt`: settings, and values by state and step.
  private struct Run {
    let name: String
    let settings: [String: Double]
    var values: [String: [Int: [Double]]] = [:]

    var configuration: OptimizerConfiguration {
      var result = OptimizerConfiguration()
      result.name = .sgd
      result.momentum = settings["momentum"] ?? .nan
      result.nesterov = settings["nesterov"] == 1
      result.weightDecay = settings["weight-decay"] ?? .nan
      result.clipNorm = settings["clip-norm"] ?? .nan
      result.averageDecay = settings["average-decay"] ?? .nan
      result.averageEvery = Int(settings["average-every"] ?? 0)
      result.decaysBiases = settings["decays-biases"] == 1
      result.biasLearningRateFactor = settings["bias-factor"] ?? .nan
      return result
    }
  }

  private static let steps = 10

  private static func runs() throws -> [Run] {
    var runs: [Run] = []
    for words in try PyTorchFixture("sgd.txt").lines {
      if words[0] == "case" {
        let settings = words[2...].map { $0.split(separator: "=") }
        runs.append(
          Run(
            name: words[1],
            settings: Dictionary(uniqueKeysWithValues: settings.map { (String($0[0]), Double($0[1]) ?? .nan) })))
      } else {
        let step = try #require(Int(words[1]))
        runs[runs.count - 1].values[words[0], default: [:]][step] = try PyTorchFixture.numbers(words, from: 2)
      }
    }
    return runs
  }

  private let layout: ParameterLayout

  init() {
    var layout = ParameterLayout()
    layout.append("head.bias", .bias, Shape(PyTorchFixture.biasCount))
    layout.append("head.weight", .denseWeight, Shape(PyTorchFixture.count - PyTorchFixture.biasCount, 1))
    self.layout = layout
  }

  private func fill(_ store: ParameterStore, _ values: [Float]) {
    for (i, value) in values.enumerated() { store.elements[i] = value }
  }

  @Test func theFixtureHasEveryCase() throws {
    #expect(
      try Self.runs().map(\.name) == [
        "nesterov", "heavy-ball", "without-decay", "without-momentum", "clipped", "groups", "averaged",
      ])
  }

  /// Every element of weights, momentum and average after every step; the elements are divided into some work items.
  @Test(arguments: 0..<7, [1, 3])
  func everyElementAfterEveryStep(number: Int, items: Int) throws {
    let run = try Self.runs()[number]
    let configuration = run.configuration
    let rule = configuration.rule
    #expect(rule.stateNames == (configuration.averageDecay > 0 ? ["momentum", "average"] : ["momentum"]))
    let optimizer = Optimizer(rule, layout: layout, multipliers: configuration.multipliers)
    let schedule =
      run.settings["one-cycle"] == 1
      ? LearningRateSchedule(
        peak: 0.1, shape: .oneCycle, warmupEpochs: 0, stepsPerEpoch: 3, totalSteps: Self.steps)
      : .constant(0.1)
    let (weights, gradients) = (ParameterStore(layout), ParameterStore(layout))
    let states = rule.stateNames.map { _ in ParameterStore(layout) }
    fill(weights, PyTorchFixture.array(0))
    var scales: Set<Float> = []
    for step in 1...Self.steps {
      fill(gradients, PyTorchFixture.array(step))
      let norm = gradients.elements.reduce(0.0) { $0 + Double($1) * Double($1) }.squareRoot()
      let scale = GradientClipping.scale(norm: norm, maximumNorm: configuration.clipNorm)
      scales.insert(scale)
      for item in 0..<items {
        let elements = item * PyTorchFixture.count / items..<(item + 1) * PyTorchFixture.count / items
        optimizer.update(
          UpdateOperands(elements, parameters: weights, gradients: gradients, states: states), step: step,
          learningRate: schedule(step), gradientScale: scale)
      }
      let found = [("weights", weights)] + zip(rule.stateNames, states).map { ($0, $1) }
      for (name, store) in found {
        guard let exact = run.values[name]?[step] else {
          // PyTorch keeps no momentum of 0, and the average is defined at multiples of its interval.
          #expect(
            name == "momentum" && configuration.momentum == 0
              || name == "average" && step % configuration.averageEvery != 0, "\(name) of \(run.name)")
          continue
        }
        try #require(exact.count == PyTorchFixture.count)
        for (i, value) in exact.enumerated() {
          // Roundings of ten updates of weights up to 3.6 and momenta up to 1.3: found at most 7e-7 and 2e-7.
          let error = abs(Double(store.elements[i]) - value)
          #expect(error <= 1e-6, "\(name)[\(i)] of \(run.name) after step \(step) is off by \(error)")
        }
      }
    }
    // The case of clipping has steps that are clipped and steps that are not.
    #expect(scales.count > 1 && scales.contains(1) || configuration.clipNorm == 0)
    #expect(run.values["weights"]?.count == Self.steps)
  }

  /// By hand, with powers of two: d = ½·4 + ¼·2 = 2½, b = 2½, w = 2 − ½·(2½ + ½·2½).
  @Test func theFirstStepByHand() {
    var configuration = OptimizerConfiguration()
    (configuration.name, configuration.momentum, configuration.weightDecay) = (.sgd, 0.5, 0.25)
    let stores = (0..<3).map { _ in ParameterStore(layout) }
    (stores[0].elements[0], stores[1].elements[0]) = (2, 4)
    Optimizer(configuration.rule, layout: layout).update(
      UpdateOperands(0..<1, parameters: stores[0], gradients: stores[1], states: [stores[2]]), step: 1,
      learningRate: 0.5, gradientScale: 0.5)
    #expect(stores[0].elements[0] == 2 - 0.5 * 3.75 && stores[2].elements[0] == 2.5)
    #expect(stores[0].elements[1...].allSatisfy { $0 == 0 } && stores[2].elements[1...].allSatisfy { $0 == 0 })
  }
}
