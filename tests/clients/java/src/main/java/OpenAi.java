import com.openai.client.OpenAIClient;
import com.openai.client.okhttp.OpenAIOkHttpClient;
import com.openai.core.JsonValue;
import com.openai.core.http.StreamResponse;
import com.openai.errors.NotFoundException;
import com.openai.helpers.ChatCompletionAccumulator;
import com.openai.models.FunctionDefinition;
import com.openai.models.FunctionParameters;
import com.openai.models.chat.completions.ChatCompletion;
import com.openai.models.chat.completions.ChatCompletionChunk;
import com.openai.models.chat.completions.ChatCompletionCreateParams;
import com.openai.models.embeddings.EmbeddingCreateParams;
import com.openai.models.responses.Response;
import com.openai.models.responses.ResponseCreateParams;
import com.openai.models.responses.ResponseStreamEvent;
import java.util.Map;

/**
 * openai-java, unchanged, against a running daemon: chats, streams, calls, stored chats, responses, embeddings.
 *
 * <p>DROVER_URL, DROVER_MODEL (a small chat model) and DROVER_SCRIPTED (a model that says
 * [[say TEXT]]) come from the environment. It ends with an exception when a check fails.
 */
public final class OpenAi {
    private static final String MODEL = System.getenv("DROVER_MODEL");
    private static final String SCRIPTED = System.getenv("DROVER_SCRIPTED");
    private static final String CALL =
            "[[say <tool_call>{\"name\": \"rain\", \"arguments\": {\"city\": \"Ulm\", \"days\": 2}}</tool_call>]]";
    private static final String ARGUMENTS = "{\"city\":\"Ulm\",\"days\":2}";
    private static final OpenAIClient CLIENT = OpenAIOkHttpClient.builder()
            .baseUrl(System.getenv("DROVER_URL") + "/v1").apiKey("any").maxRetries(0).responseValidation(true).build();

    public static void main(String[] args) {
        check(CLIENT.models().list().items().size() == 3, "models");
        chats();
        calls();
        stored();
        responses();
        int length = CLIENT.embeddings().create(EmbeddingCreateParams.builder().model(MODEL).input("x").build())
                .data().get(0).embedding().size();
        check(length > 100, "embedding of " + length);
        System.out.println("ok   embeddings");
        System.exit(0);
    }

    private static ChatCompletionCreateParams.Builder question(String model, String text, int limit) {
        return ChatCompletionCreateParams.builder()
                .model(model).addUserMessage(text).temperature(0.0).seed(1).maxCompletionTokens(limit);
    }

    private static ChatCompletion streamed(ChatCompletionCreateParams params) {
        ChatCompletionAccumulator all = ChatCompletionAccumulator.create();
        try (StreamResponse<ChatCompletionChunk> stream = CLIENT.chat().completions().createStreaming(params)) {
            stream.stream().forEach(all::accumulate);
        }
        return all.chatCompletion();
    }

    private static String text(ChatCompletion answer) {
        return answer.choices().get(0).message().content().orElse("");
    }

    private static void chats() {
        ChatCompletionCreateParams params = question(MODEL, "Name three colours.", 12).build();
        String whole = text(CLIENT.chat().completions().create(params));
        check(!whole.isBlank(), "the answer is empty");
        check(text(streamed(params)).equals(whole), "streamed text");
        System.out.println("ok   whole and streamed");
    }

    private static void calls() {
        FunctionDefinition rain = FunctionDefinition.builder().name("rain")
                .parameters(FunctionParameters.builder()
                        .putAdditionalProperty("type", JsonValue.from("object"))
                        .putAdditionalProperty("properties", JsonValue.from(Map.of(
                                "city", Map.of("type", "string"), "days", Map.of("type", "integer"))))
                        .build())
                .build();
        ChatCompletion answer = streamed(question(SCRIPTED, CALL, 200).addFunctionTool(rain).build());
        String arguments = answer.choices().get(0).message().toolCalls().orElseThrow().get(0)
                .asFunction().function().arguments();
        check(arguments.equals(ARGUMENTS), arguments);
        System.out.println("ok   calls");
    }

    private static void stored() {
        ChatCompletionCreateParams params = question(SCRIPTED, "[[say kept]]", 50).store(true).build();
        String id = CLIENT.chat().completions().create(params).id();
        check(text(CLIENT.chat().completions().retrieve(id)).equals("kept"), "the stored chat");
        check(CLIENT.chat().completions().list().autoPager().stream().anyMatch(chat -> chat.id().equals(id)), "the list");
        CLIENT.chat().completions().delete(id);
        try {
            CLIENT.chat().completions().retrieve(id);
            throw new AssertionError("it is still there");
        } catch (NotFoundException expected) {
            System.out.println("ok   stored chats, errors");
        }
    }

    private static void responses() {
        Response first = CLIENT.responses().create(
                ResponseCreateParams.builder().model(SCRIPTED).input("[[say one]]").build());
        StringBuilder text = new StringBuilder();
        ResponseCreateParams params = ResponseCreateParams.builder()
                .model(SCRIPTED).input("[[say two words]]").previousResponseId(first.id()).build();
        try (StreamResponse<ResponseStreamEvent> stream = CLIENT.responses().createStreaming(params)) {
            stream.stream().forEach(event -> event.outputTextDelta().ifPresent(delta -> text.append(delta.delta())));
        }
        check(text.toString().equals("two words"), text.toString());
        check(CLIENT.responses().retrieve(first.id()).id().equals(first.id()), "retrieved");
        CLIENT.responses().delete(first.id());
        System.out.println("ok   responses");
    }

    private static void check(boolean holds, String otherwise) {
        if (!holds) {
            throw new AssertionError(otherwise);
        }
    }
}
