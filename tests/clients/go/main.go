// openai-go, unchanged, against a running daemon: chats, streams, calls, stored chats, responses, embeddings.
//
// DROVER_URL, DROVER_MODEL (a small chat model) and DROVER_SCRIPTED (a model that says `[[say TEXT]]`) come
// from the environment. It ends with a panic when a check fails.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"
	"github.com/openai/openai-go/v3/responses"
)

const call = `[[say <tool_call>{"name": "rain", "arguments": {"city": "Ulm", "days": 2}}</tool_call>]]`
const arguments = `{"city":"Ulm","days":2}`

var (
	ctx        = context.Background()
	model      = os.Getenv("DROVER_MODEL")
	scripted   = os.Getenv("DROVER_SCRIPTED")
	parameters = map[string]any{"type": "object", "properties": map[string]any{
		"city": map[string]string{"type": "string"}, "days": map[string]string{"type": "integer"}}}
	client = openai.NewClient(
		option.WithBaseURL(strings.TrimRight(os.Getenv("DROVER_URL"), "/")+"/v1/"),
		option.WithAPIKey("any"), option.WithMaxRetries(0))
)

func check(holds bool, otherwise ...any) {
	if !holds {
		panic(fmt.Sprintln(otherwise...))
	}
}

func must[T any](value T, err error) T {
	check(err == nil, err)
	return value
}

func question(model, text string) openai.ChatCompletionNewParams {
	return openai.ChatCompletionNewParams{
		Model:       model,
		Messages:    []openai.ChatCompletionMessageParamUnion{openai.UserMessage(text)},
		Temperature: openai.Float(0), Seed: openai.Int(1), MaxTokens: openai.Int(200),
	}
}

// Reads a stream to its end, as the package's own accumulator joins it.
func streamed(params openai.ChatCompletionNewParams) (openai.ChatCompletionAccumulator, int) {
	stream := client.Chat.Completions.NewStreaming(ctx, params)
	var all openai.ChatCompletionAccumulator
	n := 0
	for stream.Next() {
		check(all.AddChunk(stream.Current()), "a chunk does not fit", stream.Current().RawJSON())
		n++
	}
	check(stream.Err() == nil, stream.Err())
	return all, n
}

func chats() {
	params := question(model, "Name three colours.")
	params.MaxTokens = openai.Int(12)
	whole := must(client.Chat.Completions.New(ctx, params))
	text := whole.Choices[0].Message.Content
	check(strings.TrimSpace(text) != "" && whole.Usage.CompletionTokens == 12, whole.RawJSON())
	all, n := streamed(params)
	check(all.Choices[0].Message.Content == text && n > 3, n, all.Choices[0].Message.Content)
	fmt.Println("ok   whole and streamed")
}

func calls() {
	params := question(scripted, call)
	params.Tools = []openai.ChatCompletionToolUnionParam{openai.ChatCompletionFunctionTool(
		openai.FunctionDefinitionParam{Name: "rain", Parameters: parameters})}
	whole := must(client.Chat.Completions.New(ctx, params)).Choices[0].Message.ToolCalls[0]
	check(whole.Function.Arguments == arguments, whole.RawJSON())
	all, _ := streamed(params)
	got := all.Choices[0].Message.ToolCalls[0]
	check(got.Function.Name == "rain" && got.Function.Arguments == arguments && got.ID != "", got)
	check(all.Choices[0].FinishReason == "tool_calls", all.Choices[0].FinishReason)
	fmt.Println("ok   calls")
}

func stored() {
	params := question(scripted, "[[say kept]]")
	params.Store = openai.Bool(true)
	params.Metadata = map[string]string{"run": "go"}
	id := must(client.Chat.Completions.New(ctx, params)).ID
	found := must(client.Chat.Completions.Get(ctx, id))
	check(found.Choices[0].Message.Content == "kept", found.RawJSON())
	list := client.Chat.Completions.ListAutoPaging(ctx, openai.ChatCompletionListParams{
		Limit: openai.Int(1), Metadata: map[string]string{"run": "go"}})
	n := 0
	for list.Next() {
		check(list.Current().ID == id, list.Current().ID)
		n++
	}
	check(list.Err() == nil && n == 1, list.Err(), n)
	messages := must(client.Chat.Completions.Messages.List(ctx, id, openai.ChatCompletionMessageListParams{}))
	check(messages.Data[0].Content == "[[say kept]]", messages.RawJSON())
	must(client.Chat.Completions.Update(ctx, id, openai.ChatCompletionUpdateParams{Metadata: map[string]string{}}))
	check(must(client.Chat.Completions.Delete(ctx, id)).Deleted, "not deleted")
	_, err := client.Chat.Completions.Get(ctx, id)
	var refused *openai.Error
	check(errors.As(err, &refused) && refused.StatusCode == 404, err)
	fmt.Println("ok   stored chats")
}

func answers() {
	input := responses.ResponseNewParamsInputUnion{OfString: openai.String("[[say one]]")}
	first := must(client.Responses.New(ctx, responses.ResponseNewParams{Model: scripted, Input: input}))
	check(first.OutputText() == "one", first.RawJSON())
	input.OfString = openai.String(call)
	stream := client.Responses.NewStreaming(ctx, responses.ResponseNewParams{
		Model: scripted, Input: input, PreviousResponseID: openai.String(first.ID),
		Tools: []responses.ToolUnionParam{{OfFunction: &responses.FunctionToolParam{
			Name: "rain", Parameters: parameters, Strict: openai.Bool(false)}}},
	})
	deltas := ""
	for stream.Next() {
		event := stream.Current()
		if event.Type == "response.function_call_arguments.delta" {
			deltas += event.Delta
		}
	}
	check(stream.Err() == nil && deltas == arguments, stream.Err(), deltas)
	must(client.Responses.Get(ctx, first.ID, responses.ResponseGetParams{}))
	check(client.Responses.Delete(ctx, first.ID) == nil, "not deleted")
	fmt.Println("ok   responses")
}

func main() {
	check(len(must(client.Models.List(ctx)).Data) == 3, "models")
	chats()
	calls()
	stored()
	answers()
	vector := must(client.Embeddings.New(ctx, openai.EmbeddingNewParams{
		Model: model, Input: openai.EmbeddingNewParamsInputUnion{OfString: openai.String("x")}}))
	check(len(vector.Data[0].Embedding) > 100, vector.RawJSON())
	fmt.Println("ok   embeddings")
}
