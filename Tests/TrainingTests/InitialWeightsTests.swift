import Foundation
import Models
import Tensors
import TestSupport
import Testing
import Training

/// Bare files of weights, as other programs write them.
@Suite struct InitialWeightsTests {
  private let folder: TemporaryDirectory
  private let graph: ModelGraph

  init() throws {
    folder = try TemporaryDirectory()
    graph = TraxWideResNet.graph(try WideResNetConfiguration(depth: 10, widenFactor: 1))
  }

  /// Writes a file with the network's tensors, all elements `value`, after some changes to the list.
  private func write(
    _ value: Float = 0.5, statistics: Bool = true,
    _ change: (inout [(name: String, kind: ParameterKind, shape: Shape)]) -> Void = { _ in }
  ) throws -> Checkpoint {
    var tensors = (graph.parameterLayout.parameters + (statistics ? graph.statisticsLayout.parameters : []))
      .map { (name: $0.name, kind: $0.kind, shape: $0.shape) }
    change(&tensors)
    var layout = ParameterLayout()
    for tensor in tensors { layout.append(tensor.name, tensor.kind, tensor.shape) }
    let store = ParameterStore(layout)
    for i in store.elements.indices { store.elements[i] = value }
    let path = folder.url.appendingPathComponent("\(UUID().uuidString).safetensors").path
    try SafetensorsWriter.write(store, to: path)
    return try Checkpoint(path)
  }

  private func fresh() -> ModelState {
    let model = ModelState(graph, optimizerStates: ["m"])
    graph.initialize(model.parameters, model.runningStatistics, seed: 0)
    return model
  }

  @Test func weightsAndStatisticsAreTaken() throws {
    let model = fresh()
    #expect(try write().loadWeights(into: model))
    #expect(model.parameters.elements.allSatisfy { $0 == 0.5 })
    #expect(model.runningStatistics.elements.allSatisfy { $0 == 0.5 })
    #expect(model.optimizerStates[0].store.elements.allSatisfy { $0 == 0 })
  }

  @Test func withoutStatisticsTheFreshOnesStay() throws {
    let (model, untouched) = (fresh(), fresh())
    #expect(try write(statistics: false).loadWeights(into: model) == false)
    #expect(model.parameters.elements.allSatisfy { $0 == 0.5 })
    #expect(model.runningStatistics.elements.elementsEqual(untouched.runningStatistics.elements))
  }

  @Test func pyTorchsCounterIsSkipped() throws {
    let file = try write { $0.append(("norm.num_batches_tracked", .bias, Shape(1))) }
    #expect(try file.loadWeights(into: fresh()))
  }

  @Test func whatDoesNotFitChangesNothing() throws {
    typealias Change = (inout [(name: String, kind: ParameterKind, shape: Shape)]) -> Void
    let changes: [(String, Change)] = [
      ("has no tensor stem.bias", { $0.removeAll { $0.name == "stem.bias" } }),
      ("has a tensor extra", { $0.append(("extra", .bias, Shape(2))) }),
      (
        "its tensor head.bias has shape [11] where [10] is needed",
        { $0[$0.firstIndex { $0.name == "head.bias" } ?? 0].shape = Shape(11) }
      ),
      ("has no tensor norm.running_var", { $0.removeAll { $0.name == "norm.running_var" } }),
    ]
    for (words, change) in changes {
      let (model, untouched) = (fresh(), fresh())
      let file = try write { change(&$0) }
      let error = #expect(throws: CheckpointError.self) { try file.loadWeights(into: model) }
      #expect(error?.description.contains(words) == true, "\(error?.description ?? "")")
      #expect(model.parameters.elements.elementsEqual(untouched.parameters.elements))
      #expect(model.runningStatistics.elements.elementsEqual(untouched.runningStatistics.elements))
    }
  }

  @Test func aBareFileCannotBeResumed() throws {
    let file = try write()
    let error = #expect(throws: CheckpointError.self) { try file.load(into: fresh()) }
    #expect(error?.description.contains("use --init") == true)
  }
}
