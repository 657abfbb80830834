import static dev.langchain4j.model.chat.Capability.RESPONSE_FORMAT_JSON_SCHEMA;

import com.fasterxml.jackson.annotation.JsonProperty;
import dev.langchain4j.agent.tool.P;
import dev.langchain4j.agent.tool.Tool;
import dev.langchain4j.model.chat.ChatModel;
import dev.langchain4j.model.chat.response.ChatResponse;
import dev.langchain4j.model.chat.response.StreamingChatResponseHandler;
import dev.langchain4j.model.ollama.OllamaChatModel;
import dev.langchain4j.model.ollama.OllamaStreamingChatModel;
import dev.langchain4j.model.openai.OpenAiChatModel;
import dev.langchain4j.service.AiServices;
import java.time.Duration;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;

/**
 * LangChain4j, unchanged, against a running daemon: a chat, a stream, structured answers, a tool.
 *
 * <p>DROVER_URL, DROVER_MODEL (a small chat model) and DROVER_SCRIPTED (a model that says
 * [[say TEXT]]) come from the environment. It ends with an exception when a check fails.
 */
public final class Client {
    private static final String URL = System.getenv("DROVER_URL");
    private static final String MODEL = System.getenv("DROVER_MODEL");
    private static final String SCRIPTED = System.getenv("DROVER_SCRIPTED");
    private static final String QUESTION = "Name three colours.";
    private static final Duration PATIENCE = Duration.ofMinutes(3);

    enum Mood { GOOD, BAD }

    record Address(boolean urban, long number) {}

    // What is not said to be required is optional for LangChain4j. Numbers have up to 16 digits.
    record Person(
            long age, boolean married,
            @JsonProperty(required = true) Mood mood, @JsonProperty(required = true) Address address) {}

    interface Writer {
        Person describe(String text);
    }

    interface Talker {
        String talk(String text);
    }

    public static final class Weather {
        @Tool("How much it rains")
        public String rain(@P(name = "city", value = "The city") String city, @P(name = "days", value = "How many") int days) {
            return days + " days of rain in " + city;
        }
    }

    public static void main(String[] args) throws Exception {
        String whole = ollama(MODEL, 12).chat(QUESTION);
        check(!whole.isBlank(), "the answer is empty");
        check(streamed().equals(whole), "streamed text");
        System.out.println("ok   whole and streamed");

        ChatModel openAi = OpenAiChatModel.builder()
                .baseUrl(URL + "/v1").apiKey("any").modelName(MODEL).temperature(0.0).maxTokens(400)
                .supportedCapabilities(RESPONSE_FORMAT_JSON_SCHEMA).strictJsonSchema(true)
                .timeout(PATIENCE).maxRetries(0).build();
        for (ChatModel model : List.of(ollama(MODEL, 400), openAi)) {
            Person person = AiServices.create(Writer.class, model).describe("Bob is 42 and married. He lives in town.");
            check(person.mood() != null && person.address() != null, "something is missing: " + person);
            System.out.println("ok   structured " + person);
        }

        String call = "[[say <tool_call>{\"name\": \"rain\", \"arguments\": {\"city\": \"Ulm\", \"days\": 2}}</tool_call>]]";
        Talker talker = AiServices.builder(Talker.class)
                .chatModel(ollama(SCRIPTED, 100)).tools(new Weather()).build();
        String said = talker.talk(call);
        check(said.equals("2 days of rain in Ulm"), said);
        System.out.println("ok   tool");
        System.exit(0);
    }

    private static ChatModel ollama(String model, int limit) {
        return OllamaChatModel.builder()
                .baseUrl(URL).modelName(model).temperature(0.0).seed(1).numPredict(limit)
                .supportedCapabilities(RESPONSE_FORMAT_JSON_SCHEMA)
                .timeout(PATIENCE).maxRetries(0).build();
    }

    private static String streamed() throws Exception {
        CompletableFuture<String> text = new CompletableFuture<>();
        StringBuilder pieces = new StringBuilder();
        OllamaStreamingChatModel.builder()
                .baseUrl(URL).modelName(MODEL).temperature(0.0).seed(1).numPredict(12).timeout(PATIENCE).build()
                .chat(QUESTION, new StreamingChatResponseHandler() {
                    @Override
                    public void onPartialResponse(String piece) {
                        pieces.append(piece);
                    }

                    @Override
                    public void onCompleteResponse(ChatResponse response) {
                        text.complete(pieces.toString());
                    }

                    @Override
                    public void onError(Throwable error) {
                        text.completeExceptionally(error);
                    }
                });
        return text.get(3, TimeUnit.MINUTES);
    }

    private static void check(boolean holds, String otherwise) {
        if (!holds) {
            throw new AssertionError(otherwise);
        }
    }
}
